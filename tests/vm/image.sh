#!/bin/bash
# Packs the initramfs: busybox, the modules, ip and wg and our own programs with
# their libraries, and the guest's scripts.
#
#   tests/vm/image.sh KERNEL_TREE OUT [WSLMESH [WSLMESH_RELAY LAB]]
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps ip from users
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$1 out=$2 binary=${3:-} relay=${4:-} lab=${5:-}

root=$(mktemp -d "$(dirname "$out")/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc/wslmesh,proc,run,sys,tmp,usr/bin,var/lib/wslmesh,vm/bin}

busybox=$(command -v busybox)
if ldd "$busybox" >/dev/null 2>&1; then
    echo "image.sh: $busybox needs libraries; install busybox-static (Fedora: busybox)" >&2
    exit 1
fi
cp "$busybox" "$root/bin/busybox"

# A program and, at the paths where the loader looks, all it is linked with.
add_program() {
    local name=$1 file=$2 library
    cp -L "$file" "$root/vm/bin/$name"
    chmod 755 "$root/vm/bin/$name"
    { ldd "$file" 2>/dev/null || true; } | awk '$2 == "=>" { print $3; next } $1 ~ /^\// { print $1 }' \
        | while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            cp -Lu "$library" "$root$library"
        done
}
add_program ip "$(command -v ip)"
add_program wg "$(command -v wg)"
add_program chattr "$(command -v chattr)"
if [ -n "$lab" ]; then
    add_program nft "$(command -v nft)"
    add_program ss "$(command -v ss)"
    ln -s /vm/bin/nft /vm/bin/ss "$root/usr/bin/"
fi
# The lab's worlds look for programs where every machine has them.
ln -s /vm/bin/ip /vm/bin/wg "$root/usr/bin/"
add_ours() {
    [ -n "$2" ] || return 0
    add_program "$1" "$2"
    # Debug information is most of a development build; the guest has 512 MB.
    strip "$root/vm/bin/$1" 2>/dev/null || true
}
add_ours wslmesh "$binary"
add_ours wslmesh-relay "$relay"
add_ours lab "$lab"

"$here/modules.sh" "$tree" "$root/modules" veth dummy tun wireguard udp_diag tcp_diag \
    nf_tables nft_masq nft_chain_nat

cp "$here"/guest/*.sh "$root/vm/"
cp "$here/guest/init" "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$out"
