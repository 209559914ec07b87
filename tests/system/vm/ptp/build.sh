#!/bin/bash
# Builds hvptp.c, a stand-in for Hyper-V's PTP device, for the kernel of a guest.
#
#   tests/system/vm/ptp/build.sh TREE OUT.ko
#
# TREE is kernel.sh's, with the kernel's headers. Nothing is installed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$1" && pwd) out=$2
work=$(mktemp -d "$tree/ptp.XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/hvptp.c" "$work/"
echo 'obj-m := hvptp.o' >"$work/Makefile"
headers=$tree/headers/usr/src/linux-headers-$(cat "$tree/version")
make -s -C "$headers" M="$work" modules >"$work/log" 2>&1 || {
    cat "$work/log" >&2
    exit 1
}
cp "$work/hvptp.ko" "$out"
