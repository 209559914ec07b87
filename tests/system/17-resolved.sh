# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# suites: bookworm trixie
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The zones of a tunnel in the real systemd-resolved, from the hardened unit; and one that has failed
# is started again where /etc/resolv.conf names it.
boot || exit 1
install_deb >/dev/null || exit 1

resolved=systemd-resolved.service
config() {
    guest tee /etc/wslmesh/wslmesh.toml >/dev/null
    guest systemctl reload $unit
}
link_of_resolved() { guest resolvectl status tun7; }
resolved_has() { link_of_resolved | grep -E -- "$1" >/dev/null; }
is_running() { [ "$(guest systemctl is-active $resolved)" = active ]; }
has_failed() { [ "$(guest systemctl is-failed $resolved)" = failed ]; }

guest ip tuntap add mode tun name tun7
guest ip address add 10.10.0.2/24 dev tun7
guest ip link set tun7 up
config <<'T'
[dns]
zones = { "mesh.internal" = ["10.10.0.1"] }
T
ok 'without systemd-resolved it says so' within 10 journal_has 'zone-no-resolved'

guest rm /etc/systemd/system/$resolved
guest systemctl daemon-reload
guest systemctl enable --now $resolved >/dev/null 2>&1
guest systemctl reload $unit
ok 'the tunnel has its servers' within 20 resolved_has 'DNS Servers: 10\.10\.0\.1'
has 'for the zone alone' "$(link_of_resolved)" 'DNS Domain: ~mesh\.internal'
has 'and nothing else goes there' "$(link_of_resolved)" '-DefaultRoute'
# The peer of this tunnel is no one.
ok 'a server that does not answer is reported' within 30 journal_has 'zone-failed'
ok 'and that programs do not ask it' within 30 journal_has 'zone-unused'
has 'status shows the zone' "$(guest wslmesh status)" 'mesh\.internal by 10\.10\.0\.1 through tun7'
guest systemctl restart $resolved
has 'they outlive its restart' "$(link_of_resolved)" '~mesh\.internal'
config </dev/null
ok 'without the zone they are taken back' within 20 not resolved_has 'mesh\.internal'
config <<'T'
[dns]
zones = { "mesh.internal" = ["10.10.0.1"] }
T
ok 'and set again' within 20 resolved_has '~mesh\.internal'
guest resolvectl domain tun7 corp.example
guest systemctl reload $unit
ok 'what another program sets is reported' within 30 journal_has 'zone-taken'
has 'and stays' "$(link_of_resolved)" 'DNS Domain: corp\.example'
guest resolvectl revert tun7
guest systemctl reload $unit
ok 'after that they are set once more' within 30 resolved_has '~mesh\.internal'

# One that has failed.
guest mkdir -p /run/systemd/system/$resolved.d
printf '[Service]\nExecStart=\nExecStart=/bin/false\n' |
    guest tee /run/systemd/system/$resolved.d/broken.conf >/dev/null
guest sh -c 'echo "nameserver 127.0.0.53" >/etc/resolv.conf'
guest systemctl daemon-reload
guest systemctl restart $resolved 2>/dev/null
ok 'it has failed' within 20 has_failed
guest rm /run/systemd/system/$resolved.d/broken.conf
guest systemctl daemon-reload
guest systemctl reload $unit
ok 'the agent starts it' within 30 is_running
ok 'and says so' within 10 journal_has 'started systemd-resolved\.service'
guest systemctl stop $resolved
guest systemctl reload $unit
ok 'one that was stopped is reported' within 20 journal_has 'resolved-down'
ok 'and stays so' not is_running

guest systemctl start $resolved
guest sh -c 'echo "nameserver 192.0.2.53" >/etc/resolv.conf'
guest systemctl reload $unit
ok 'the zone is there' within 30 resolved_has '~mesh\.internal'
apt_get remove wslmesh >/dev/null
ok 'the removal of the package takes it back' within 10 not resolved_has 'mesh\.internal'
