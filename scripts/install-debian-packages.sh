#!/bin/bash
# Installs the Debian packages that tvmq needs and that are not there yet.
#
#   scripts/install-debian-packages.sh          a C++ compiler, which links what TVM compiles, and Python's venv
#   scripts/install-debian-packages.sh arm64    also what cross-compiles for 64-bit and 32-bit ARM and runs the result: GCC,
#                                               QEMU
#   scripts/install-debian-packages.sh browser  also Chromium, in which the report's page is tested
#   scripts/install-debian-packages.sh yardstick  also LLVM 19, which models ARM cores (docs/yardstick.md)
#
# Several words may be given. Run it as root, or as a user who may use sudo. Where nothing is missing it changes nothing
# and needs neither.
set -euo pipefail

packages=(g++)
python3 -c "import ensurepip, venv" 2>/dev/null || packages+=(python3-venv)
for word in "$@"; do
    case $word in
    arm64) packages+=(g++-aarch64-linux-gnu g++-arm-linux-gnueabihf qemu-user) ;;
    browser) packages+=(chromium) ;;
    yardstick) packages+=(llvm-19 llvm-19-dev) ;;
    *)
        echo "usage: $0 [arm64] [browser] [yardstick]" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian: please install the equivalents of: ${packages[*]}" >&2
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "Missing: ${missing[*]}. Install them as root: apt-get install ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi

install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
}

echo "Installing ${missing[*]}"
# A fresh machine has no package lists yet, or stale ones.
install || { "${as_root[@]}" apt-get update && install; }
