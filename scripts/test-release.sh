#!/usr/bin/env bash
# The release script on a copy of this tree: it accepts a version that stands everywhere, and names whatever is in its way.
set -euo pipefail
cd "$(dirname "$0")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z -- Cargo.toml Cargo.lock CHANGELOG.md charts/miroir/Chart.yaml scripts/release .ci/run | xargs -0 cp --parents -t "$copy"
cd "$copy"
git init -q
git config user.name nobody && git config user.email nobody@localhost
commit() { git add -A && git commit -qm "$1"; }

sed -i -E '0,/^version = /s/^version = .*/version = "9.8.7"/' Cargo.toml
sed -i -E '/^name = "miroir"$/{n;s/.*/version = "9.8.7"/}' Cargo.lock
sed -i -E 's/^(version|appVersion):.*/\1: "9.8.7"/' charts/miroir/Chart.yaml
sed -i -E '0,/^## /s/^## .*/## 9.8.7\n- A thing that people notice.\n\n&/' CHANGELOG.md
commit "a version"

fail() { echo "scripts/release: $*" >&2; exit 1; }
accepts() { scripts/release "$@" >out 2>&1 || fail "refuses $*: $(cat out)"; rm -f out; }
refuses() {
  local why=$1; shift
  if scripts/release "$@" >"$copy.out" 2>&1; then fail "accepts $* although $why"; fi
  grep -q "$why" "$copy.out" || fail "does not name '$why': $(cat "$copy.out")"
  rm -f "$copy.out"
}
planted() { # what it must say, then the change that it must see
  local why=$1; shift
  "$@" && commit "a fault"
  refuses "$why" --dry-run 9.8.7
  git reset -q --hard HEAD~1
}

echo out >.git/info/exclude
accepts --dry-run 9.8.7
[ "$(scripts/release --notes 9.8.7)" = "- A thing that people notice.
" ] || [ "$(scripts/release --notes 9.8.7)" = "- A thing that people notice." ] || fail "other notes"
[ -z "$(git tag)" ] || fail "a dry run made a tag"
refuses "is no version" --dry-run 9.8
refuses "Cargo.toml says" --dry-run 9.8.8
planted "Cargo.toml says" sed -i 's/^version = "9.8.7"/version = "9.8.6"/' Cargo.toml
planted "Cargo.lock (run cargo check) says" sed -i '/^name = "miroir"$/{n;s/7/6/}' Cargo.lock
planted "Chart.yaml, appVersion, says" sed -i 's/^appVersion.*/appVersion: "9.8.6"/' charts/miroir/Chart.yaml
planted "CHANGELOG.md has nothing under" sed -i 's/^## 9.8.7$/## 9.8.6/' CHANGELOG.md
touch forgotten
refuses "the tree is not clean" --dry-run 9.8.7
rm forgotten
refuses "is not this commit" --tagged 9.8.7
git tag v9.8.7
refuses "is there already" --dry-run 9.8.7
accepts --tagged 9.8.7
echo "scripts/release: as it should be"
