#!/bin/bash
# Finds a kernel with its WireGuard module and prints the folder that holds it:
#   FOLDER/vmlinuz   FOLDER/version   FOLDER/lib/modules/VERSION/...
#
#   tests/vm/kernel.sh WORK
#
# Debian: the cloud kernel, downloaded by apt and unpacked below WORK, never
# installed; kept for the next run. Elsewhere: a kernel that is installed here.
# WSLMESH_VM_KERNEL names such a folder and skips the search.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps ip and depmod from users
work=$1

say() { echo "kernel.sh: $*" >&2; }

if [ -n "${WSLMESH_VM_KERNEL:-}" ]; then
    [ -f "$WSLMESH_VM_KERNEL/vmlinuz" ] || { say "$WSLMESH_VM_KERNEL has no vmlinuz"; exit 1; }
    echo "$WSLMESH_VM_KERNEL"
    exit 0
fi

# One of the modules is enough: where it is, the others are.
module_of() { find "$1" -name 'wireguard.ko*' -print -quit 2>/dev/null; }

# Brings a tree with lib/modules/VERSION into the shape that is promised above.
finish() {
    local tree=$1 vmlinuz=$2 version
    version=$(basename "$(dirname "$(find "$tree/lib/modules" -maxdepth 2 -name kernel -print -quit)")")
    cp -L "$vmlinuz" "$tree/vmlinuz"
    echo "$version" >"$tree/version"
    depmod -b "$tree" "$version"
}

# The package behind Debian's metapackage.
package_of() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null \
        | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

from_apt() {
    local package tree tmp
    package=$(package_of)
    if [ -z "$package" ]; then
        say "apt knows no linux-image-cloud-amd64 (a Debian package; is 'apt-get update' due?)"
        return 1
    fi
    tmp=$(mktemp -d "$work/kernel.XXXXXX")
    local options=(-qq)
    # As root apt would give the download to its own user, who may not write here.
    [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
    # Lists older than the mirror name a file that was removed: read them again once.
    if ! (cd "$tmp" && apt-get download "${options[@]}" "$package" >&2) \
        && ! { [ "$(id -u)" = 0 ] && apt-get update -qq -o DPkg::Lock::Timeout=300 >&2 && package=$(package_of) \
            && (cd "$tmp" && apt-get download "${options[@]}" "$package" >&2); }; then
        rm -rf "$tmp"
        say "apt-get download $package failed (no network, or 'apt-get update' is due)"
        return 1
    fi
    mkdir "$tmp/tree"
    dpkg-deb -x "$tmp"/"$package"*.deb "$tmp/tree"
    # Trixie's packages carry usr/lib instead of lib.
    [ -d "$tmp/tree/lib" ] || mv "$tmp/tree/usr/lib" "$tmp/tree/lib"
    if [ -z "$(module_of "$tmp/tree/lib")" ]; then
        rm -rf "$tmp"
        say "$package has no WireGuard module"
        return 1
    fi
    finish "$tmp/tree" "$(find "$tmp/tree/boot" -name 'vmlinuz-*' -print -quit)"
    tree=$work/kernel-apt
    # Two runs may get here at once; the first one's tree is as good.
    mv -T "$tmp/tree" "$tree" 2>/dev/null || [ -f "$tree/vmlinuz" ]
    rm -rf "$tmp"
    echo "$tree"
}

from_installed() {
    local modules version vmlinuz tmp tree
    for modules in /lib/modules/*/; do
        version=$(basename "$modules")
        [ -n "$(module_of "$modules/kernel")" ] || continue
        for vmlinuz in "$modules/vmlinuz" "/boot/vmlinuz-$version"; do
            [ -r "$vmlinuz" ] || continue
            tmp=$(mktemp -d "$work/kernel.XXXXXX")
            mkdir -p "$tmp/tree/lib/modules"
            cp -r "$modules" "$tmp/tree/lib/modules/$version"
            finish "$tmp/tree" "$vmlinuz"
            tree=$work/kernel-$version
            mv -T "$tmp/tree" "$tree" 2>/dev/null || [ -f "$tree/vmlinuz" ]
            rm -rf "$tmp"
            echo "$tree"
            return 0
        done
        say "the kernel image of $version cannot be read by $(id -un)"
    done
    say "no installed kernel with a WireGuard module that can be read"
    return 1
}

for tree in "$work"/kernel-*; do
    if [ -f "$tree/vmlinuz" ] && [ -f "$tree/version" ]; then
        echo "$tree"
        exit 0
    fi
done
if command -v apt-get >/dev/null && from_apt; then
    exit 0
fi
from_installed
