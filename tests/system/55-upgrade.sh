# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# From an earlier version, which shipped another configuration and knew nothing of
# the group, the folders and what else came since; no terminal to answer questions.
starts() { guest journalctl -q -o cat -u $unit | grep -c '^Started '; }
shipped() { guest sha256sum "$1" | cut -d ' ' -f 1; }
ours=$(dpkg-deb --fsys-tarfile "$packages/$deb" | tar -xO ./etc/wslmesh/wslmesh.toml | sha256sum | cut -d ' ' -f 1)
old() {
    boot || exit 1
    ok 'the earlier version is installed' apt_get install "/packages/previous/$previous"
    ok 'and runs' within 10 is_active
    ok 'without the group' not guest getent group wslmesh
    ok 'its configuration is another one' [ "$(shipped /etc/wslmesh/wslmesh.toml)" != "$ours" ]
}

old
ok 'it changed sysctls' within 10 sysctl_is net.ipv4.tcp_keepalive_time 60
guest sh -c 'printf "[mtu]\nvalue = 1300\n" >/etc/wslmesh/wslmesh.toml'
# As that version's own command left it.
guest wslmesh forward add ssh --protocol tcp --listen-port 2222 --connect-port 22 >/dev/null 2>&1
forward_file=/etc/wslmesh/wslmesh.toml.d/forward-ssh.toml
ok 'a forward of the earlier version' guest test -s $forward_file
guest systemctl reload $unit
guest sh -c 'echo "MINE=1" >>/etc/wslmesh/wsl-network.conf'
forward=$(shipped $forward_file)
# And its state: without keys that came later, with a value that no other version knows.
guest sh -c 'printf "{\"boot\":\"%s\",\"sysctl\":{\"net.ipv4.tcp_keepalive_time\":{\"before\":\"7300\",\"after\":\"60\"}}}" \
    "$(cat /proc/sys/kernel/random/boot_id)" >/var/lib/wslmesh/saved.json'
guest sh -c 'cp /etc/wslmesh/wsl-network.conf /root/network'
guest install -D /etc/wslmesh/wslmesh.toml /var/lib/wslmesh/windows/refresh.ps1
before=$(main_pid) count=$(starts)
# As unattended-upgrades has it: where there is a default, no question.
upgrade=$(apt_get -o Dpkg::Options::=--force-confdef install "/packages/$deb" 2>&1)
has 'the upgrade goes through without a question' "$upgrade" 'Setting up wslmesh'
ok 'it is restarted' within 10 restarted_since "$before"
is 'once' "$(($(starts) - count))" 1
is 'and not by a failure' "$(property NRestarts)" 0
has 'the edited configuration is kept' "$(guest cat /etc/wslmesh/wslmesh.toml)" '^value = 1300$'
is 'the new one is beside it' "$(shipped /etc/wslmesh/wslmesh.toml.dpkg-dist)" "$ours"
is 'the forward is kept' "$(shipped $forward_file)" "$forward"
has 'and known' "$(guest wslmesh forward list)" ssh
ok 'the network file is kept, with what a person wrote' guest cmp /root/network /etc/wslmesh/wsl-network.conf
ok 'the group exists' guest getent group wslmesh
ok 'the folder for hooks exists' guest test -d /etc/wslmesh/hooks.d/address-changed
ok 'its folder for scripts is gone' not guest test -e /var/lib/wslmesh/windows
ok 'the configuration is in force' guest sh -c 'wslmesh config show | grep -q 1300'
guest systemctl stop $unit
ok 'the values before the earlier version are still known' guest wslmesh restore
is 'and are back' "$(sysctl_of net.ipv4.tcp_keepalive_time)" 7300
ok 'apt purges it' apt_get purge wslmesh
is 'the forward is the administrator'"'"'s, and alone is left' "$(guest find /etc/wslmesh /var/lib/wslmesh /run/wslmesh ! -type d 2>/dev/null)" $forward_file
halt

# It was not edited, so the new one takes its place; and what is off stays off.
old
guest systemctl disable --now $unit >/dev/null 2>&1
ok 'the upgrade of a disabled service' apt_get install "/packages/$deb"
is 'the configuration is the new one' "$(shipped /etc/wslmesh/wslmesh.toml)" "$ours"
is 'nothing is beside it' "$(guest sh -c 'ls /etc/wslmesh/*.dpkg-* 2>/dev/null')" ''
is 'it stays disabled' "$(guest systemctl is-enabled $unit)" disabled
ok 'it is not started' state_is inactive
