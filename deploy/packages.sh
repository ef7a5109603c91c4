#!/usr/bin/env bash
# Install the Debian packages that are missing; does nothing, and needs no rights, when none is.
set -euo pipefail

python=${PYTHON:-python3}

# What runs VMs and builds images, then what compiles the extensions.
packages=(
  e2fsprogs git mmdebstrap qemu-system-x86 squashfs-tools util-linux zstd
  ca-certificates gcc libc6-dev
)
# Peers of benches and judges of tests; the product never runs them.
packages+=(cpio iproute2 redis-server)

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "$python is not installed: apt-get install python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" --version) is too old: Python 3.11 or later is needed; choose one with make PYTHON=..."
"$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
"$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
  packages+=(python3-dev)

if ! command -v dpkg-query >/dev/null; then
  printf 'setup: not a Debian system; make sure that you have the equivalents of: %s\n' "${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "these packages are missing and need root to install: ${missing[*]}"
  as_root=(sudo)
fi
printf 'setup: Debian packages: %s\n' "${missing[*]}"
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >/dev/null; }
apt update || fail "apt-get update failed: see the messages above"
apt install --yes --no-install-recommends "${missing[@]}" || fail "apt-get install failed: see the messages above"
