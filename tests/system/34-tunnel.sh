# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The tunnel's unit. There is no Windows: the switch runs in the guest, without a network.
boot || exit 1
ok 'apt installs the deb' apt_get install "/packages/$deb"
tunnel=wslmesh-tunnel.service
tunnel_is() { [ "$(guest systemctl show -P ActiveState $tunnel)" = "$1" ]; }
routes() { guest ip route; guest ip -6 route; guest ip rule; }
is 'it is not enabled' "$(guest systemctl is-enabled $tunnel)" static
exposure=$(guest systemd-analyze security --no-pager $tunnel | tail -n 1)
echo "# ${exposure#* }"
ok 'exposure is 2.3 or better' guest systemd-analyze security --no-pager --threshold=23 $tunnel
before=$(routes)
ok 'without a switch it does not come up' not guest wslmesh tunnel up
ok 'and has failed' tunnel_is failed
is 'the routes are those of before' "$(routes)" "$before"

# The switch, behind a socket of systemd.
guest tee /etc/systemd/system/switch.socket >/dev/null <<'T'
[Socket]
ListenStream=/run/switch.sock
Accept=yes
T
guest tee /etc/systemd/system/switch@.service >/dev/null <<'T'
[Service]
ExecStart=/usr/lib/wslmesh/wslmesh-relay switch
StandardInput=socket
StandardOutput=socket
StandardError=journal
PrivateNetwork=yes
T
guest mkdir -p /etc/systemd/system/$tunnel.d
guest tee /etc/systemd/system/$tunnel.d/test.conf >/dev/null <<'T'
[Service]
ExecStart=
ExecStart=/usr/bin/wslmesh tunnel run --connect /run/switch.sock
T
guest systemctl daemon-reload
guest systemctl start switch.socket
ok 'it comes up' guest wslmesh tunnel up
has 'status says so' "$(guest wslmesh tunnel status)" 'up for .* by the switch'
has 'systemd has its status' "$(guest systemctl status --no-pager $tunnel)" 'Status: "up by the switch'
is 'the API is for root and its group' "$(guest stat -c '%a %U %G' /run/wslmesh-tunnel/api.sock)" '660 root wslmesh'
is 'the orders are root'\''s' "$(guest stat -c '%a %U' /run/wslmesh-tunnel/agent.sock)" '600 root'
has 'the default route leads through it' "$(guest ip route get 192.0.2.1)" 'dev wslmesh0'
ok 'the gateway answers' guest timeout 5 bash -c ': </dev/tcp/192.168.127.1/53'
pid=$(guest systemctl show -P MainPID $tunnel)
ok 'it is killed' guest systemctl kill --kill-whom=main -s KILL $tunnel
restarted() { tunnel_is active && [ "$(guest systemctl show -P MainPID $tunnel)" != "$pid" ]; }
ok 'one that was killed is started again' within 20 restarted
ok 'it goes down' guest wslmesh tunnel down
is 'the routes are those of before, too' "$(routes)" "$before"
guest journalctl -q -o cat -u $tunnel | tail -n 5 | sed 's/^/# /'
