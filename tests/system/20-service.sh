# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# What systemd does with the service: watchdog, reload, kill, a second one.
boot || exit 1
install_deb >/dev/null || exit 1

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
guest rm "/etc/systemd/system/$unit.d/watchdog.conf"
guest systemctl daemon-reload
guest systemctl restart $unit

pid=$(main_pid)
guest sh -c 'printf "[mtu]\nvalue = 1300\n" >/etc/wslmesh/wslmesh.toml'
ok 'reload takes a good configuration' guest systemctl reload $unit
ok 'and says so' within 10 journal_has 'reload|configuration'
guest sh -c 'printf "[mtu]\nvalu = 1280\n" >/etc/wslmesh/wslmesh.toml'
guest systemctl reload $unit
ok 'a bad one is refused, with the code' within 10 journal_has 'config-rejected.*valu' WSLMESH_HEALTH=config-rejected
is 'the process is the same' "$(main_pid)" "$pid"
guest sh -c ': >/etc/wslmesh/wslmesh.toml'
guest systemctl reload $unit
ok 'and the finding clears' within 10 journal_has 'config-rejected .* cleared'

guest sh -c 'printf "[mtu]\nvalu = 1280\n" >/etc/wslmesh/wslmesh.toml'
ok 'no start with a bad one' not guest systemctl restart $unit
ok 'the unit has failed' within 10 state_is failed
is 'with a status of its own' "$(property ExecMainStatus)" 78
is 'and no further start' "$(property NRestarts)" 0
has 'it says what is wrong and what to do' "$(journal)" 'correct it, then: systemctl restart wslmesh'
guest sh -c ': >/etc/wslmesh/wslmesh.toml'
guest systemctl restart $unit
ok 'a good one is taken at the next start' within 10 is_active
pid=$(main_pid)

second=$(guest timeout 5 wslmesh status; guest sh -c 'timeout 3 wslmesh run 2>&1; true')
has 'a second agent is on standby' "$second" 'standby'
ok 'the first goes on' is_active
is 'with its process' "$(main_pid)" "$pid"

is 'it is restarted for ever' "$(property StartLimitIntervalUSec)" 0
is 'with a limit of memory' "$(property MemoryMax)" 268435456
is 'and of tasks' "$(property TasksMax)" 128
has 'no core file' "$(guest cat "/proc/$(main_pid)/limits")" '^Max core file size +0 +0 '

guest systemctl reset-failed $unit
drop_in limit <<'T'
[Service]
RestartSec=20ms
T
guest systemctl restart $unit
within 10 is_active
for round in $(seq 20); do
    before=$(main_pid)
    set_address "172.28.16.$((100 + round))"
    # Somewhere between the event and the end of the pass.
    sleep "0.0$((RANDOM % 90 + 10))"
    guest kill -KILL "$before"
    within 10 restarted_since "$before" || break
done
is 'killed twenty times' "$round" 20
ok 'it is up again' within 10 is_active
ok 'and the file is right' within 10 network_file_has 'WSL_IP="172.28.16.120"'
is 'no temporary file is left' "$(guest find /etc/wslmesh -type f ! -name wslmesh.toml ! -name wsl-network.conf)" ''
ok 'sysctls are as wanted' within 10 sysctl_is net.ipv4.tcp_keepalive_time 60
guest systemctl stop $unit
guest wslmesh restore >/dev/null
is 'restore still knows the first values' "$(sysctl_of net.ipv4.tcp_keepalive_time)" 7200
