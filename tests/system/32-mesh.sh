# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# Units and hooks that follow a tunnel, and units that wait for it: one that comes late, one that
# never comes, one that comes after all. The tunnel is wg-quick's over wireguard-go.
# suites: bookworm trixie
boot || exit 1
install_deb >/dev/null || exit 1

# The peer is in a network of its own, behind a pair.
guest ip netns add far
guest ip link add near type veth peer name far0 netns far
guest ip address add 10.77.0.1/24 dev near
guest ip link set near up
guest ip -n far address add 10.77.0.2/24 dev far0
guest ip -n far link set far0 up
guest sh -c 'umask 077; mkdir -p /etc/wireguard; wg genkey >/run/near.key; wg genkey >/run/far.key'
near=$(guest sh -c 'wg pubkey </run/near.key') far=$(guest sh -c 'wg pubkey </run/far.key')
guest ip netns exec far wireguard-go wgfar >/dev/null 2>&1
guest ip netns exec far wg set wgfar private-key /run/far.key listen-port 51820 peer "$near" allowed-ips 10.9.0.0/24
guest ip -n far address add 10.9.0.200/24 dev wgfar
guest ip -n far link set wgfar up
# quick ADDRESS: what wg-quick is to make.
quick() {
    guest sh -c 'umask 077; cat >/etc/wireguard/wg0.conf' <<T
[Interface]
PrivateKey = $(guest cat /run/near.key)
Address = $1/24
ListenPort = 51820
[Peer]
PublicKey = $far
Endpoint = 10.77.0.2:51820
AllowedIPs = 10.9.0.200/32
T
}
quick 10.9.0.1
guest systemctl enable wg-quick@wg0 >/dev/null 2>&1

# service NAME LINES_OF_UNIT [LINES_OF_SERVICE]: notes its start with what it finds.
service() {
    guest tee "/etc/systemd/system/$1.service" >/dev/null <<T
[Unit]
$2
[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=-/etc/wslmesh/wsl-network.conf
${3:-}
ExecStart=sh -c 'echo "$1 \$MESH_IP_WIREGUARD" >>/var/tmp/notes'
T
    guest systemctl daemon-reload
}
notes() { guest cat /var/tmp/notes 2>/dev/null; }
has_note() { notes | grep -qxF "$1"; }
clear_notes() { guest sh -c ': >/var/tmp/notes'; }
state_of() { guest systemctl show -P "${2:-ActiveState}" "$1"; }
state_of_is() { [ "$(state_of "$1")" = "$2" ]; }
waits() { guest journalctl -q -o cat -u wslmesh-wait-online; }
target=wslmesh-online.target wait=wslmesh-wait-online.service
clear_notes
service needs "After=$target
Requires=$target"
service wants "After=$target
Wants=$target"

# A tunnel that comes late.
guest systemctl start --no-block needs
ok 'who needs the tunnel waits' within 20 state_of_is $wait activating
is 'and has not started' "$(state_of needs)" inactive
guest systemctl start wg-quick@wg0
ok 'it starts when the tunnel can be used' within 60 state_of_is needs active
is 'the target is reached' "$(state_of $target)" active
ok 'a peer has answered by then' guest sh -c '[ "$(wg show wg0 latest-handshakes | cut -f 2)" -gt 0 ]'
is 'and the file has the address' "$(notes)" 'needs 10.9.0.1'
has 'what was waited for is in the journal' "$(waits)" 'online after .*: eth0 172\.28\.16\.5; wg0 10\.9\.0\.1, handshake'

# Who follows the tunnel.
service follower ''
service mute ''
guest systemctl start follower mute
guest mkdir -p /etc/wslmesh/hooks.d/mesh-changed
guest tee /etc/wslmesh/hooks.d/mesh-changed/10-facts >/dev/null <<'T'
#!/bin/sh
echo "$WSLMESH_EVENT $WSLMESH_INTERFACE $WSLMESH_KEY '$WSLMESH_OLD' '$WSLMESH_NEW'" >>/var/tmp/hooks
T
guest chmod 755 /etc/wslmesh/hooks.d/mesh-changed/10-facts
guest tee /etc/wslmesh/wslmesh.toml >/dev/null <<'T'
[dependents]
units = ["mute", { name = "follower", on = ["mesh"] }, { name = "wg-quick@wg0", action = "restart" }]
T
guest systemctl reload $unit
clear_notes
guest sh -c ': >/var/tmp/hooks'
kept_has() { guest grep -F "$1" /run/wslmesh/dependents.json >/dev/null; }
hooks_are() { [ "$(guest cat /var/tmp/hooks)" = "$1" ]; }
# Restarted, it is as it was: nobody is notified. What follows would show it.
guest systemctl restart wg-quick@wg0
guest systemctl stop wg-quick@wg0
ok 'a lost tunnel is said' within 10 journal_has 'tunnel wg0: address 10\.9\.0\.1 is lost' WSLMESH_EVENT=mesh WSLMESH_KEY=MESH_IP_WIREGUARD WSLMESH_INTERFACE=wg0
ok 'and notified to hooks' within 30 hooks_are "mesh-changed wg0 MESH_IP_WIREGUARD '10.9.0.1' ''
mesh-changed wg0 MESH_PORT_WIREGUARD '51820' ''"
ok 'a unit is notified once' within 10 has_note 'follower '
is 'and that one alone' "$(notes)" 'follower '
fields=$(guest journalctl -q -o export -u $unit WSLMESH_EVENT=dependent WSLMESH_UNIT=follower.service)
has 'its line has the keys' "$fields" '^WSLMESH_KEY=MESH_IP_WIREGUARD MESH_PORT_WIREGUARD$'
clear_notes
guest sh -c ': >/var/tmp/hooks'
quick 10.9.0.7
guest systemctl start wg-quick@wg0
ok 'a tunnel that is back with another address is notified' within 60 has_note 'follower 10.9.0.7'
ok 'to hooks, too' within 10 hooks_are "mesh-changed wg0 MESH_IP_WIREGUARD '' '10.9.0.7'
mesh-changed wg0 MESH_PORT_WIREGUARD '' '51820'"
ok 'which is noted' within 10 kept_has '"notified":"10.9.0.7"'
guest systemctl restart $unit
within 10 is_active
guest systemctl reload $unit
is 'a restarted agent notifies nothing twice' "$(notes)" 'follower 10.9.0.7'

# A tunnel that never comes.
guest systemctl stop wg-quick@wg0 follower mute needs wants $target $wait
guest mkdir -p "/etc/systemd/system/$wait.d"
guest tee "/etc/systemd/system/$wait.d/timeout.conf" >/dev/null <<'T'
[Service]
ExecStart=
ExecStart=/usr/bin/wslmesh wait-online --timeout 2
T
service own 'Wants=wslmesh.service
After=wslmesh.service' 'ExecStartPre=/usr/bin/wslmesh wait-online --interface wg0 --timeout 2
Restart=on-failure
RestartSec=1s'
clear_notes
ok 'who wants it starts without' guest systemctl start wants
ok 'who needs it does not' not guest systemctl start needs
is 'the wait has failed' "$(state_of $wait) $(state_of $wait Result)" 'failed exit-code'
has 'and names the tunnel' "$(waits)" 'the tunnel wg0: there is no such interface \(waited for: wg-quick@wg0\.service is enabled\)'
has 'and where to look' "$(waits)" 'more: wslmesh doctor; systemctl status wg-quick@wg0\.service'
has 'systemd names the dependency' "$(guest journalctl -q -o cat -u needs)" 'Dependency failed for needs\.service'
guest systemctl start --no-block own
restarted() { [ "$(state_of own NRestarts)" -gt 0 ]; }
ok 'who waits itself tries again' within 30 restarted
is 'only one has started' "$(notes | cut -d ' ' -f 1)" wants
guest systemctl start wg-quick@wg0
ok 'and starts when the tunnel comes' within 60 state_of_is own active
ok 'who needs it does when it is started again' guest systemctl start needs
is 'both with the address' "$(notes | grep -v '^wants' | sort)" 'needs 10.9.0.7
own 10.9.0.7'
is 'a mesh of its own is no dependent' "$(journal WSLMESH_EVENT=dependent WSLMESH_UNIT=wg-quick@wg0.service | wc -l)" 0

# That the service is restarted starts nobody whose dependency failed: dependents.md says so.
guest systemctl stop wg-quick@wg0 own needs wants $target $wait
guest tee -a "/etc/systemd/system/$wait.d/timeout.conf" >/dev/null <<'T'
Restart=on-failure
RestartSec=1s
T
guest systemctl daemon-reload
ok 'who needs it does not start' not guest systemctl start needs
guest systemctl start wg-quick@wg0
ok 'a wait that is restarted succeeds' within 60 state_of_is $wait active
is 'and starts nobody' "$(state_of needs) $(state_of $target)" 'inactive inactive'
