#!/usr/bin/env bash
# InstantSearch in a real browser through a gateway: the one at MIROIR_URL, or one started here. With MEILISEARCH_URL compared with one node.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/miroir/instantsearch"
"$here/../../scripts/chromium.sh"

. "$here/../demo.sh"

mkdir -p "$cache" && cp "$here"/*.{js,mjs,json,html} "$cache/"
cd "$cache"
npm install --silent --no-audit --no-fund >/dev/null
npx esbuild page.js --bundle --log-level=error --define:process.env.NODE_ENV='"production"' --outfile=page.bundle.js
CHROMIUM=$(command -v chromium) CITIES="$here/../data/cities.ndjson" node session.mjs
