#!/usr/bin/env bash
# Lints and renders the chart with Helm's own library, once per values file in charts/miroir/ci, and shows that bad values are refused.
set -euo pipefail
cd "$(dirname "$0")/.."

python=
for candidate in python3.14 python3.13 python3.12 python3 "$HOME"/.pyenv/versions/3.1[2-9].*/bin/python3; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  echo "chart NOT CHECKED: Helm's library for Python needs Python 3.12 or later"
  exit 0
fi
venv="${XDG_CACHE_HOME:-$HOME/.cache}/miroir/helm-venv"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -c 'import helm_sdkpy, yaml, jsonschema' 2>/dev/null || "$venv/bin/pip" install -q helm-sdkpy pyyaml jsonschema
exec "$venv/bin/python" scripts/chart.py
