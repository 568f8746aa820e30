# To be sourced: MIROIR_URL is a gateway afterwards, the one that it names, or that of a demo by MIROIR_BIN, which ends with this shell.
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
