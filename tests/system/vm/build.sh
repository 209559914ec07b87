#!/bin/bash
# Makes the saved guest of a Debian release and prints its folder, which is
# vm.py's: once for each recipe, QEMU and kernel.
#
#   tests/system/vm/build.sh WORK SUITE
#
# The files are those of tests/system/rootfs.sh, which is where root and a mirror
# are needed.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$1
suite=$2
first=$((1 << 20)) # as in rootfs.sh: the ids that the files have outside

root=$("$here/../rootfs.sh" "$work" "$suite")
mkdir -p "$work/vm"
tree=$("$here/kernel.sh" "$work/vm" "$root")
recipe=$({
    cat "$here"/{build.sh,vm.py} "$here"/guest/{init,runner.sh} "$here"/ptp/* "$here/../../vm/modules.sh" "$tree/version"
    echo "$root"
    qemu-system-x86_64 --version
    sha256sum <"$(command -v busybox)"
} | sha256sum | cut -c 1-12)
out=$work/vm/$suite-$recipe
if [ -d "$out" ]; then
    echo "$out"
    exit 0
fi
tmp=$(mktemp -d "$work/vm/build.XXXXXX")
holder=''
trap 'if [ -n "$holder" ]; then kill "$holder" 2>/dev/null || true; fi; rm -rf "$tmp"' EXIT

# The initramfs: busybox and the modules. WireGuard is loaded there, as if it
# were built in, which it is in WSL's kernel.
initrd=$tmp/initrd.d
mkdir -p "$initrd/bin"
cp "$(command -v busybox)" "$initrd/bin/busybox"
"$here/../../vm/modules.sh" "$tree" "$initrd/modules" virtio_pci virtio_blk virtio_console virtio_net ext4 overlay wireguard
install -m 755 "$here/guest/init" "$initrd/init"
(cd "$initrd" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$tmp/initrd"
cp "$tree/vmlinuz" "$tmp/vmlinuz"

# Debian's files, in a user namespace that sees the ids which they have inside.
# It gets the image as an open file: it may not reach its folder.
truncate -s 2G "$tmp/root.ext4"
chmod 666 "$tmp/root.ext4"
unshare --user sleep 60 &
holder=$!
for map in uid gid; do
    tries=0
    # Its namespace exists a moment after the process does.
    until echo "0 $first 65536" 2>/dev/null >"/proc/$holder/${map}_map"; do
        tries=$((tries + 1))
        [ "$tries" -lt 500 ] || { echo "build.sh: no user namespace could be made" >&2; exit 1; }
        sleep 0.02
    done
done
(
    cd "$root"
    nsenter -t "$holder" -U -S 0 -G 0 mke2fs -q -F -t ext4 -O ^has_journal -d . /dev/fd/3 3<>"$tmp/root.ext4" >&2
)
kill "$holder"
chmod 644 "$tmp/root.ext4"
wait "$holder" 2>/dev/null || true
holder=''

# What is mounted over them at first: the runner, and WSL's word on its networking mode.
upper=$tmp/scratch/upper
mkdir -p "$tmp/scratch/work" "$upper"/{etc/systemd/system/multi-user.target.wants,usr/bin,usr/local/sbin}
install -m 755 "$here/guest/runner.sh" "$upper/usr/local/sbin/runner"
# shellcheck disable=SC2016 # the script's own
printf '#!/bin/sh\n[ "$1" = --networking-mode ] && echo nat\n' >"$upper/usr/bin/wslinfo"
chmod 755 "$upper/usr/bin/wslinfo"
cat >"$upper/etc/systemd/system/runner.service" <<'T'
[Unit]
Description=Runs the tests' jobs
After=dbus.service

[Service]
Type=exec
ExecStart=/usr/local/sbin/runner
T
# The guest has no modules but those that are loaded.
ln -s /dev/null "$upper/etc/systemd/system/systemd-modules-load.service"
ln -s ../runner.service "$upper/etc/systemd/system/multi-user.target.wants/runner.service"
# The agent has a /proc of its own (ProtectProc=), where the release would be Debian's.
mkdir -p "$upper/etc/systemd/system/wslmesh.service.d" "$upper/usr/local/share"
echo 6.6.87.2-microsoft-standard-WSL2 >"$upper/usr/local/share/osrelease"
cat >"$upper/etc/systemd/system/wslmesh.service.d/guest.conf" <<'T'
[Service]
BindReadOnlyPaths=/usr/local/share/osrelease:/proc/sys/kernel/osrelease
T
# A stand-in for Hyper-V's PTP device, for the scenario that loads it.
if [ -d "$tree/headers" ]; then
    mkdir -p "$upper/usr/local/lib"
    install -m 755 "$(command -v busybox)" "$upper/usr/local/sbin/insmod"
    "$here/ptp/build.sh" "$tree" "$upper/usr/local/lib/hvptp.ko"
fi
# Where WSL's init has its sockets: the agent takes no machine without it for WSL.
mkdir -p "$upper/etc/tmpfiles.d"
echo 'd /run/WSL 0755' >"$upper/etc/tmpfiles.d/wsl.conf"
# Else the first boot would update caches that are never read.
mkdir -p "$upper/var"
touch "$upper/etc/.updated" "$upper/var/.updated"
truncate -s 1G "$tmp/scratch.ext4"
mke2fs -q -F -t ext4 -J size=16 -E lazy_itable_init=1 -d "$tmp/scratch" "$tmp/scratch.ext4" >&2

CONSOLE=$tmp/console python3 "$here/vm.py" save "$tmp" >&2 || {
    tail -n 25 "$tmp/console" >&2
    exit 1
}
rm -rf "$initrd" "$tmp/scratch" "$work/vm/$suite"-*
# mktemp's folder is its maker's alone, like all that is root's here.
mv "$tmp" "$out"
echo "$out"
