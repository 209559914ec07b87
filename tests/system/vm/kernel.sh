#!/bin/bash
# Downloads the cloud kernel of a Debian release, whatever runs here, and prints
# the folder that holds it, in the shape of tests/vm/kernel.sh.
#
#   tests/system/vm/kernel.sh WORK ROOT
#
# ROOT is a root file system of that release: its sources.list names the mirror.
# Of Debian 12 it has the headers too, for ptp/build.sh: the tools that newer ones come
# with need a newer glibc than Debian 12 has. Nothing is installed, and apt's own lists are
# left alone.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
work=$(cd "$1" && pwd) root=$(cd "$2" && pwd)
suite=$(sed -n 's/^VERSION_CODENAME=//p' "$root/usr/lib/os-release")
tree=$work/kernel-$suite
if [ -f "$tree/vmlinuz" ] && { [ "$suite" != bookworm ] || [ -d "$tree/headers" ]; }; then
    echo "$tree"
    exit 0
fi

tmp=$(mktemp -d "$work/kernel.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/lists/partial" "$tmp/archives/partial" "$tmp/tree"
cp "$root/etc/apt/sources.list" "$tmp/sources.list"
apt() {
    local command=$1
    shift
    "$command" -qq -o APT::Sandbox::User=root -o Acquire::Languages=none \
        -o "Dir::Etc::SourceList=$tmp/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$tmp/lists" -o "Dir::Cache=$tmp" -o "Dir::Cache::Archives=$tmp/archives" "$@"
}
apt apt-get update >&2
package=$(apt apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
(cd "$tmp" && apt apt-get download "$package" >&2)
dpkg-deb -x "$tmp"/linux-image-*.deb "$tmp/tree"
# From trixie on the modules are in usr/lib.
[ -d "$tmp/tree/lib" ] || mv "$tmp/tree/usr/lib" "$tmp/tree/lib"
version=$(basename "$tmp"/tree/lib/modules/*)
mv "$tmp"/tree/boot/vmlinuz-* "$tmp/tree/vmlinuz"
echo "$version" >"$tmp/tree/version"
depmod -b "$tmp/tree" "$version"
if [ "$suite" = bookworm ]; then
    name=linux-headers-$version
    mapfile -t packages < <(apt apt-cache depends "$name" | sed -n 's/.*Depends: \(linux-\(headers\|kbuild\)-.*\)/\1/p')
    (cd "$tmp" && apt apt-get download "$name" "${packages[@]}" >&2)
    for package in "$tmp"/linux-{headers,kbuild}-*.deb; do dpkg-deb -x "$package" "$tmp/tree/headers"; done
    # It names the folder in which Debian has the rest.
    sed -i "s#/usr/src#$tree/headers/usr/src#" "$tmp/tree/headers/usr/src/$name/Makefile"
fi
rm -rf "$tree"
mv "$tmp/tree" "$tree"
echo "$tree"
