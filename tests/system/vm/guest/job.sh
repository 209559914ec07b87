#!/bin/bash
# Runs one scenario inside the guest, with the helpers of tests/system/lib.sh.
# shellcheck disable=SC2034,SC2317
here=/run/job
scenario=$(cat "$here/name")
results=/dev/null
run=/run/job
ln -sfn "$here/packages" /packages
deb=$(cd /packages && ls wslmesh_*_amd64.deb)
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
# How often the guest has booted in this run: a scenario that boots it is run again.
boots=$1

# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"

# Everything is inside here, so this only says so.
guest() { "$@"; }
windows() { ip netns exec windows "$@"; }
# set_address ADDRESS: Windows gives eth0 another one.
set_address() {
    ip address flush dev eth0 scope global
    ip address add "$1/20" dev eth0
    ip route replace default via 172.28.16.1
}
# facts: what an installation may change and a removal must bring back. A package's
# own traces in dpkg's and systemd's books are not files of ours, and a WireGuard
# device that goes up takes net.ipv4.conf.all.send_redirects away by itself.
facts() {
    find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/tmp -o -path /var/log -o -path /var/cache \
        -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd \) -prune -o -print | sort
    sysctl -a -e 2>/dev/null | grep -vE '^(fs\.|kernel\.(random|ns_last|pty)|dev\.|vm\.)|nf_conntrack_count|stat|fib_multipath|all\.send_redirects|\.neigh\.' | sort
    (cd /sys/class/net && grep . -- */mtu)
    systemctl list-unit-files --no-legend --no-pager | grep '^wslmesh'
}
# keepalive_is SECONDS: what wg says of wg0's only peer.
keepalive_is() { [ "$(wg show wg0 persistent-keepalive | cut -f 2)" = "$1" ]; }
# machine stop SECONDS: the whole machine pauses, as while Windows sleeps.
# machine link on|off: eth0's cable.
machine() {
    local answer
    printf '\n@%s\n' "$*" >&3
    read -r answer <&3
    [ "$answer" = "done" ]
}
# Boots again, with what is on the disk; the scenario is then run with boots=2.
reboot_guest() {
    sync
    machine reboot
    systemctl reboot
    sleep 600
}

status=0
(
    set +e
    # shellcheck disable=SC1091
    . "$here/scenario.sh"
    true
) || status=$?
[ "$status" = 0 ] || fail "ran to its end (status $status)"
exit "$status"
