# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# Removal leaves the machine as it was.
# suites: bookworm trixie
facts() {
    guest sh -c 'find / -xdev \( -path /proc -o -path /sys -o -path /run/systemd -o -path /run/udev -o -path /share -o -path /var/log -o -path /var/lib/apt \
        -o -path /var/cache -o -path /var/lib/dpkg -o -path /tmp -o -path /var/tmp -o -path /run/log -o -path /run/user -o -path /var/lib/systemd \) -prune -o -print | sort
        sysctl -a -e 2>/dev/null | grep -E "^net\." | grep -vE "nf_conntrack_count|stat|random|fib_multipath|\.neigh\." | sort
        cat /sys/class/net/*/mtu; systemctl list-unit-files --no-legend --no-pager | grep -E "^wslmesh"'
}
# A package's own traces in dpkg's and systemd's books are not files of ours.
boot || exit 1
guest ip link add wg7 mtu 1420 type veth peer name other
facts >"$run/before"
ok 'apt installs it' install_deb
ok 'it changed sysctls' within 10 sysctl_is net.ipv4.tcp_keepalive_time 60
ok 'apt removes it' apt_get remove wslmesh
ok 'the service is stopped' not guest systemctl is-active -q $unit
is 'sysctls are back after remove' "$(sysctl_of net.ipv4.tcp_keepalive_time)" 7200
ok 'the configuration is kept' guest test -e /etc/wslmesh/wslmesh.toml
ok 'apt purges it' apt_get purge wslmesh
facts >"$run/after"
ok 'files, sysctls and MTUs are as before' diff "$run/before" "$run/after"
ok 'the group stays, as Debian has it' guest getent group wslmesh

# What a person put beside the package's own outlives a purge, and nothing else does.
install_deb >/dev/null || exit 1
guest sh -c 'echo "[mtu]" >/etc/wslmesh/wslmesh.toml.d/mine.toml'
ok 'apt purges it again' apt_get purge wslmesh
is 'the administrator'"'"'s drop-in is kept, alone' "$(guest find /etc/wslmesh ! -type d)" /etc/wslmesh/wslmesh.toml.d/mine.toml
guest rm -r /etc/wslmesh

install_deb >/dev/null || exit 1
guest systemctl disable --now $unit >/dev/null 2>&1
ok 'installed again' apt_get install --reinstall "/packages/$deb"
is 'what was disabled stays so' "$(guest systemctl is-enabled $unit)" disabled
guest systemctl enable --now $unit >/dev/null 2>&1
ok 'removed and purged' apt_get purge wslmesh
facts >"$run/after"
ok 'again as before' diff "$run/before" "$run/after"
