# shellcheck shell=dash
# The lab's worlds, in a kernel with WireGuard: a tunnel and a connection through
# Windows while the guest's address changes; and the port of WireGuard, which Windows
# learns by a claim where it shares its ports with the guest.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
# A world mounts a /proc of its own, which the kernel refuses while something
# hides part of this one.
umount /proc/sys/kernel/osrelease
# A world has a wslinfo of its own, which reports the world's mode.
mv /usr/bin/wslinfo /tmp/wslinfo
export WSLMESH_BIN=/vm/bin/wslmesh WSLMESH_RELAY_BIN=/vm/bin/wslmesh-relay

# trial NAME: that one trial; its output is shown where it failed.
trial() {
    if timeout -s KILL 180 lab @kernel --exact "$1" >/tmp/lab.out 2>&1 && grep -q '1 passed' /tmp/lab.out; then
        return
    fi
    cat /tmp/lab.out
    return 1
}
figures() { grep '^# ' /tmp/lab.out || true; }

ok 'a peer in lan keeps its tunnel across ten addresses and a relay that is killed' trial kernel::lan_speaks_first
figures
ok 'so it does when the guest speaks first' trial kernel::guest_speaks_first
figures
ok 'a TCP client reconnects through the port proxy after each of ten addresses' trial kernel::tcp_reconnects
figures
ok 'doctor mtu names the router that passes less than the tunnel needs' trial kernel::path_mtu
ok 'a client in lan reaches TCP and WireGuard in each mode and after a leader was killed' trial walk::kernel
ok 'in mirrored mode the port of WireGuard is claimed once for each time it is opened' trial claim::kernel_mirrored
ok 'so it is in consomme mode' trial claim::kernel_consomme
ok 'a port that Windows reserves for the guest is not claimed' trial claim::kernel_reserved
ok 'a port that Windows refuses is reported and tried again on a reload' trial claim::kernel_refused
ok 'none is claimed in NAT mode or where the configuration does not want it' trial claim::kernel_not_wanted
mv /tmp/wslinfo /usr/bin/wslinfo
mount -o bind /tmp/osrelease /proc/sys/kernel/osrelease
