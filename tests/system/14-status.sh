# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# What a person sees of the agent, and changes, over the bus.
boot || exit 1
guest mkdir -p /etc/wslmesh/wslmesh.toml.d
guest sh -c 'printf "[host]\nbackend = \"none\"\n" >/etc/wslmesh/wslmesh.toml.d/host.toml'
install_deb >/dev/null || exit 1
guest sh -c 'umask 077; wg genkey >/run/key'
peer=$(guest wg genkey | guest wg pubkey)
guest wireguard-go wg0 >/dev/null 2>&1
ok 'wg0 exists' within 10 guest ip link show wg0
guest wg set wg0 private-key /run/key listen-port 51820 peer "$peer" allowed-ips 10.9.0.2/32 endpoint 172.28.16.1:51820
guest ip link set wg0 up
ok 'its MTU becomes 1280' within 10 mtu_is wg0 1280

# The key has characters of its own meaning in a pattern.
status_has() { "$@" wslmesh status | grep -F -- "$peer"; }
ok 'a user sees the peers, over the bus' within 10 status_has as_user
status=$(as_user wslmesh status)
has 'the address' "$status" '^  address: 172\.28\.16\.5 on eth0, gateway 172\.28\.16\.1$'
shows() { as_user wslmesh status | grep -E -- "$1"; }
ok 'the MTUs' within 10 shows '^      mtu: eth0 1500, wg0 1280$'
has 'the endpoint and the keepalive' "$status" '172\.28\.16\.1:51820, keepalive 25 s'
lacks 'nothing is wider than 80 columns' "$status" '.{81}'
lacks 'no private key' "$status$(as_user wslmesh status --json)" "$(guest cat /run/key | tr -d '=' | sed 's/[+/]/./g')"

# The best of twenty: what the program takes, whatever else runs here.
took=$(guest bash -c 'for _ in {1..20}; do
    begun=$(date +%s%N); wslmesh status >/dev/null; ended=$(date +%s%N); echo $(((ended - begun) / 10000))
done | sort -n | head -n 1')
echo "# wslmesh status: $((took / 100)).$((took % 100 / 10)) ms"
ok 'status takes less than 30 ms' [ "$took" -lt 3000 ]

monitored() { guest grep -E -- "$1" /run/monitor/lines; }
guest install -d -o user /run/monitor
guest systemd-run -q --unit=monitor -p User=user -p StandardOutput=file:/run/monitor/lines wslmesh monitor
ok 'monitor prints the state' within 10 monitored 'agent [0-9]+: eth0 172\.28\.16\.5 '
set_address 172.28.27.77
ok 'and an address that changes' within 10 monitored '^20.*  eth0 address 172\.28\.16\.5 -> 172\.28\.27\.77$'
guest sh -c 'printf "[mtu]\nvalu = 1280\n" >/etc/wslmesh/wslmesh.toml.d/bad.toml'
guest systemctl reload $unit
ok 'what goes wrong, with the fix' within 10 monitored 'warning: config-rejected .*wslmesh config check'
guest rm /etc/wslmesh/wslmesh.toml.d/bad.toml
guest systemctl reload $unit
ok 'what cleared' within 10 monitored 'config-rejected .* cleared$'
before=$(main_pid)
guest systemctl restart $unit
ok 'the service is up again' within 10 restarted_since "$before"
ok 'monitor goes on with the next agent' within 10 monitored "agent $(main_pid): "
guest systemctl kill -s INT monitor.service
monitor_ended() { ! guest systemctl is-active -q monitor.service; }
ok 'Ctrl-C ends it' within 10 monitor_ended
ok 'without a failure' not guest systemctl is-failed -q monitor.service

add() { as_user wslmesh forward add web --protocol tcp --listen-port 8080; }
drop_in_of_web=/etc/wslmesh/wslmesh.toml.d/forward-web.toml
ok 'a user may not add a forward' not add
has 'and the error says so' "$(add 2>&1)" '^wslmesh: .*(administrator|wslmesh|root)'
ok 'nothing was written' not guest test -e $drop_in_of_web
guest sh -c 'printf "%s" "{\"instances\":[{\"name\":\"Debian\",\"ports\":[{\"port\":8081,\"firewall\":\"local\"}]}]}" >/run/wsl2.json'
import() { "$@" wslmesh config import --instance Debian /run/wsl2.json; }
imported=/etc/wslmesh/wslmesh.toml.d/50-imported.toml
ok 'a user may look at an import' as_user wslmesh config import --dry-run --instance Debian /run/wsl2.json
ok 'and not import' not import as_user
has 'and the error says so' "$(import as_user 2>&1)" '^wslmesh: .*run as root'
ok 'nothing was imported' not guest test -e $imported
has 'root imports, and the agent takes it up over the bus' "$(import guest)" '^the agent has reloaded its configuration$'
has 'the list has it' "$(as_user wslmesh forward list)" '0\.0\.0\.0:8081 '
guest rm $imported
guest systemctl reload $unit

guest groupadd -f wslmesh
guest usermod -aG wslmesh user
ok 'a member of the group wslmesh may' within 10 add
ok 'its drop-in exists' guest test -e $drop_in_of_web
has 'the list has it' "$(as_user wslmesh forward list)" '^web +tcp +0\.0\.0\.0:8080 '
ok 'the member may remove it' as_user wslmesh forward remove web
ok 'its drop-in is removed' not guest test -e $drop_in_of_web

# Without a bus all goes as it can.
guest systemctl stop dbus.socket dbus.service
ok 'root sees the peers by itself' within 10 status_has guest
has 'a user learns which command does' "$(as_user wslmesh status)" 'sudo wslmesh status shows the peers'
ok 'root adds a forward' guest wslmesh forward add web --protocol tcp --listen-port 8080
ok 'its drop-in exists too' guest test -e $drop_in_of_web
