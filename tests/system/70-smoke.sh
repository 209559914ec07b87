# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# What a further distribution has to show: the service under its systemd.
# suites: trixie
boot || exit 1
echo "# $(guest systemctl --version | head -n 1)"
ok 'apt installs the deb' apt_get install "/packages/$deb"
ok 'the service is up' within 10 is_active
is 'it is enabled' "$(guest systemctl is-enabled $unit)" enabled
has 'systemd saw READY and a status' "$(guest systemctl status --no-pager $unit)" 'Status: "172\.28\.16\.5'
ok 'the unit is verified, man pages included' guest systemd-analyze verify "/usr/lib/systemd/system/$unit"
exposure=$(guest systemd-analyze security --no-pager $unit | tail -n 1)
echo "# ${exposure#* }"
ok 'exposure is 2.3 or better' guest systemd-analyze security --no-pager --threshold=23 $unit
is 'restarts that fail are tried less and less often' "$(property RestartSteps) $(property RestartMaxDelayUSec)" '8 1min'
ok 'the group exists' guest getent group wslmesh
ok 'the folder for hooks exists' guest test -d /etc/wslmesh/hooks.d/address-changed
ok 'a sysctl is set' within 10 sysctl_is net.ipv4.tcp_keepalive_intvl 10
ok 'a user may read the status' as_user wslmesh status

set_address 172.28.27.77
ok 'the file follows an address change' within 10 network_file_has 'WSL_IP="172.28.27.77"'
ok 'the journal has it, with fields' within 10 journal_has '172\.28\.16\.5 -> 172\.28\.27\.77' WSLMESH_ADDRESS_NEW=172.28.27.77
fields=$(guest journalctl -q -o export -u $unit WSLMESH_ADDRESS_NEW=172.28.27.77)
has 'the old address' "$fields" '^WSLMESH_ADDRESS_OLD=172\.28\.16\.5$'
has 'the interface' "$fields" '^WSLMESH_INTERFACE=eth0$'
has 'the duration in microseconds' "$fields" '^WSLMESH_DURATION_US=[0-9]+$'

guest sh -c 'printf "[mtu]\nvalue = 1300\n" >/etc/wslmesh/wslmesh.toml'
ok 'reload takes a configuration' guest systemctl reload $unit
guest wireguard-go wg0 >/dev/null 2>&1
ok 'a tunnel made later gets its MTU' within 10 mtu_is wg0 1300

drop_in watchdog <<'T'
[Service]
WatchdogSec=1s
T
guest systemctl restart $unit
ok 'it is up with a short watchdog' within 10 is_active
before=$(main_pid)
guest kill -STOP "$before"
ok 'systemd restarts a process that has stopped' within 30 restarted_since "$before"
has 'because of the watchdog' "$(guest journalctl -q -o cat -u $unit)" 'Watchdog timeout'
