#!/usr/bin/env bash
# A session of each official client through a gateway: the one at MIROIR_URL, or one started here.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/miroir"

. "$here/../demo.sh"

passed=0 failed=0
session() { if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $*" >&2; fi; }

[ -x "$cache/sdk-python/bin/python" ] || python3 -m venv "$cache/sdk-python"
"$cache/sdk-python/bin/pip" install -q -r "$here/python/requirements.txt"
session "$cache/sdk-python/bin/python" "$here/python/session.py"

mkdir -p "$cache/sdk-javascript" && cp "$here"/javascript/* "$cache/sdk-javascript/"
(cd "$cache/sdk-javascript" && npm install --silent --no-audit --no-fund >/dev/null)
session node "$cache/sdk-javascript/session.mjs"

session env CARGO_TARGET_DIR="$cache/sdk-rust" cargo run -q --manifest-path "$here/rust/Cargo.toml"

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
