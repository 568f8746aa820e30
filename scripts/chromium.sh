#!/usr/bin/env bash
# Installs the browser in which the page of the admin listener is tested, where that can be done without a prompt, and names it otherwise.
set -euo pipefail

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
[ ${#missing[@]} -eq 0 ] && exit 0

run=()
if [ "$(id -u)" -ne 0 ]; then run=(sudo -n); fi
if ! command -v apt-get >/dev/null || ! { [ ${#run[@]} -eq 0 ] || sudo -n true 2>/dev/null; }; then
  echo "miroir: please install what has the programs chromium and chromedriver (Debian: ${missing[*]})" >&2
  exit 1
fi
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" fonts-dejavu-core >/dev/null
echo "miroir: installed ${missing[*]}"
