#!/usr/bin/env bash
# Install Debian packages when this user may; otherwise say which ones are missing, and fail.
# Usage: apt-install.sh PACKAGE...
set -euo pipefail

give_up() {
    echo "Missing system packages. Please run: ${1:-}apt-get update && ${1:-}apt-get install $PACKAGES" >&2
    exit 1
}

PACKAGES="$*"
command -v apt-get >/dev/null || {
    echo "Missing system libraries. Please install what Debian calls: $PACKAGES" >&2
    exit 1
}

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || give_up "sudo "
    as_root=(sudo -n)
fi

install() {
    # DPkg::Lock::Timeout: another apt may be at work on a machine that has just started.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=120 install --yes --no-install-recommends "$@" >/dev/null
}

echo "Installing $PACKAGES ..." >&2
# A fresh image has no package lists, and old lists name packages that are gone: update, then try once more.
install "$@" 2>/dev/null || { "${as_root[@]}" apt-get -qq update && install "$@"; } || give_up
