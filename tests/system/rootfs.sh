#!/bin/bash
# Makes the machine that the system tests boot, with what the scenarios look
# through, and prints its directory.
#
#   tests/system/rootfs.sh WORK SUITE      bookworm (systemd 252), trixie (257)
#
# Made once: the name has the recipe's checksum. Nothing is ever changed in it,
# each boot has a throw-away layer above. Needs root, mmdebstrap and a mirror.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
work=$1
suite=$2
# The ids that root and the others of the guest have outside.
first=$((1 << 20))

recipe=$(sha256sum "${BASH_SOURCE[0]}" | cut -c 1-12)
root=$work/$suite-$recipe
exec {lock}>"$work/.$suite.lock"
flock "$lock" # another run may be making it
if [ -e "$root.done" ]; then
    echo "$root"
    exit 0
fi
rm -rf "$work/$suite"-*
mkdir -p "$root"
mmdebstrap --mode=root --variant=minbase --quiet \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
    --include=systemd-sysv,dbus,iproute2,procps,wireguard-tools,wireguard-go,rpm,man-db,polkitd,systemd-resolved \
    "$suite" "$root" >&2

# No log-in, and nothing that wants a network or works by the clock.
for unit in console-getty.service getty.target apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer \
    systemd-firstboot.service systemd-networkd.service systemd-resolved.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# In no private network (RFC 5737), so that the agent does not query it.
rm -f "$root/etc/resolv.conf"
echo 'nameserver 192.0.2.53' >"$root/etc/resolv.conf"
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
echo guest >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 guest\n' >"$root/etc/hosts"
echo 'user:x:1000:1000::/:/bin/sh' >>"$root/etc/passwd"
echo 'user:x:1000:' >>"$root/etc/group"

# Once, to give every file to the ids of the guest.
systemd-nspawn -q -D "$root" --register=no --keep-unit --private-network \
    "--private-users=$first:65536" --private-users-ownership=chown /bin/true </dev/null >&2
touch "$root.done"
echo "$root"
