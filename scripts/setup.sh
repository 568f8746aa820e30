#!/usr/bin/env bash
# Installs what the build needs where that can be done without a prompt, and names it otherwise.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v cmake >/dev/null || missing+=(cmake)
command -v pkg-config >/dev/null || missing+=(pkg-config)
if ! pkg-config --exists openssl 2>/dev/null; then missing+=(libssl-dev); fi
command -v python3 >/dev/null || missing+=(python3)
# Tests start servers of their own; the one that the package starts is not used.
if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 && ! command -v postgres >/dev/null; then missing+=(postgresql); fi
command -v pgbouncer >/dev/null || missing+=(pgbouncer)

if ! command -v cargo >/dev/null; then
  echo "miroir: a Rust toolchain is needed (see rust-toolchain.toml for the version): https://rustup.rs" >&2
  exit 1
fi
[ ${#missing[@]} -eq 0 ] && exit 0

if command -v apt-get >/dev/null; then
  run=()
  if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then run=(sudo -n); else
      echo "miroir: please install: ${missing[*]}   (sudo apt-get install ${missing[*]})" >&2
      exit 1
    fi
  fi
  "${run[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  echo "miroir: installed ${missing[*]}"
else
  echo "miroir: please install the equivalents of: ${missing[*]}" >&2
  exit 1
fi
