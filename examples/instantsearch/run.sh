#!/usr/bin/env bash
# InstantSearch in a real browser through a gateway: the one at MIROIR_URL, or one started here. With MEILISEARCH_URL compared with one node.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/miroir/instantsearch"
"$here/../../scripts/chromium.sh"

if [ -z "${MIROIR_URL:-}" ]; then
  bin=${MIROIR_BIN:?MIROIR_URL or MIROIR_BIN must be set}
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  (cd "$here/../.." && exec "$bin" demo --port "$port") >"$(mktemp)" 2>&1 </dev/null &
  demo=$!
  trap 'kill $demo 2>/dev/null; wait $demo 2>/dev/null || true' EXIT
  export MIROIR_URL="http://127.0.0.1:$port"
  for _ in $(seq 300); do
    curl -fs "$MIROIR_URL/health" >/dev/null 2>&1 && break
    kill -0 $demo 2>/dev/null || { echo "the demo did not start" >&2; exit 1; }
    sleep 0.2
  done
fi

mkdir -p "$cache" && cp "$here"/*.{js,mjs,json,html} "$cache/"
cd "$cache"
npm install --silent --no-audit --no-fund >/dev/null
npx esbuild page.js --bundle --log-level=error --define:process.env.NODE_ENV='"production"' --outfile=page.bundle.js
CHROMIUM=$(command -v chromium) CITIES="$here/../data/cities.ndjson" node session.mjs
