# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# A process that hangs or is killed, and two services at once, with a kernel's wg0.
drop_in faults <<'T'
[Service]
WatchdogSec=5s
RestartSec=20ms
T
guest systemctl restart $unit
ok 'it is up with a short watchdog' within 20 is_active
before=$(main_pid)
kill -STOP "$before"
ok 'systemd restarts a process that has stopped' within 60 restarted_since "$before"
has 'because of the watchdog' "$(guest journalctl -q -o cat -u $unit)" 'Watchdog timeout'
drop_in faults <<'T'
[Service]
RestartSec=20ms
T
guest systemctl restart $unit
within 20 is_active

# A fresh tunnel each time, so that the kill falls into work. Twenty kills are tried in
# the container (20-service), where each takes a fraction of the time.
for round in $(seq 8); do
    ip link delete wg0 2>/dev/null
    ip link add wg0 type wireguard
    wg set wg0 peer "$(wg genkey | wg pubkey)" allowed-ips 10.9.0.2/32 endpoint 172.28.16.1:51820
    before=$(main_pid)
    set_address "172.28.16.$((100 + round))"
    ip link set wg0 up
    sleep "0.$((RANDOM % 300 + 10))"
    kill -KILL "$before"
    within 20 restarted_since "$before" || break
done
is 'killed eight times' "$round" 8
ok 'it is up again' is_active
ok 'the file is right' within 20 network_file_has 'WSL_IP="172.28.16.108"'
ok 'the tunnel has its MTU' within 20 mtu_is wg0 1280
ok 'the peer has its keepalive' within 20 keepalive_is 25
ok 'sysctls are as wanted' within 20 sysctl_is net.core.rmem_max 134217728
is 'no temporary file is left' "$(guest sh -c 'ls -A /etc/wslmesh | grep -vE "^(wslmesh.toml|wslmesh.toml.d|hooks.d|wsl-network.conf)$"')" ''

# The same service once more, under another name.
first=$(main_pid)
sed 's/^Description=.*/Description=A second one/' /usr/lib/systemd/system/$unit >/etc/systemd/system/second.service
systemctl daemon-reload
systemctl start second.service
second() { systemctl show -P "$1" second.service; }
on_standby() { second StatusText | grep -qi 'stand'; }
leads() { [ "$(second ActiveState)" = active ] && second StatusText | grep -q '172\.28'; }
ok 'a second one is on standby' within 20 on_standby
echo "# it says: $(second StatusText)"
is 'the first goes on' "$(main_pid)" "$first"
guest systemctl stop $unit
ok 'it takes over when the first stops' within 20 leads
set_address 172.28.30.9
ok 'and does the work' within 20 network_file_has 'WSL_IP="172.28.30.9"'
systemctl stop second.service
ok 'restore' guest wslmesh restore
is 'it still knows the first value' "$(sysctl_of net.core.rmem_max)" 212992
is 'and the first MTU' "$(mtu_of wg0)" 1420
