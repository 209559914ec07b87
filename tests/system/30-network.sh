# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# What the agent is for, seen by ip, wg, sysctl and journalctl.
boot || exit 1
rmem=$(sysctl_of net.ipv4.tcp_rmem)
install_deb >/dev/null || exit 1

ok 'a sysctl is set' within 10 sysctl_is net.ipv4.tcp_keepalive_intvl 10
ok 'a list is set' within 10 sysctl_is net.ipv4.tcp_rmem '4096 87380 134217728'
ok 'they differ from before' [ "$rmem" != '4096 87380 134217728' ]

# Idle: not a line.
lines=$(lines_of_journal)
sleep 1
is 'no line while idle' "$(lines_of_journal)" "$lines"

# eth0 belongs to Windows: changed from outside, in the guest's namespace alone.
set_address 172.28.27.77
ok 'the file follows an address change' within 10 network_file_has 'WSL_IP="172.28.27.77"'
ok 'the journal has it, with fields' within 10 journal_has '172\.28\.16\.5 -> 172\.28\.27\.77' WSLMESH_ADDRESS_NEW=172.28.27.77
fields=$(guest journalctl -q -o export -u $unit WSLMESH_ADDRESS_NEW=172.28.27.77)
has 'the old address' "$fields" '^WSLMESH_ADDRESS_OLD=172\.28\.16\.5$'
has 'the interface' "$fields" '^WSLMESH_INTERFACE=eth0$'
has 'the event' "$fields" '^WSLMESH_EVENT='
has 'the duration in microseconds' "$fields" '^WSLMESH_DURATION_US=[0-9]+$'
has 'an ordinary level' "$fields" '^PRIORITY=[56]$'
is 'in one line' "$(journal WSLMESH_ADDRESS_NEW=172.28.27.77 | wc -l)" 1

# A userspace device, made after the agent.
guest wireguard-go wg0 >/dev/null 2>&1
ok 'wg0 exists' within 10 guest ip link show wg0
peer=$(guest wg genkey | guest wg pubkey)
guest sh -c 'umask 077; wg genkey >/run/key'
guest wg set wg0 private-key /run/key peer "$peer" allowed-ips 10.9.0.2/32 endpoint 172.28.16.1:51820
guest ip address add 10.9.0.1/24 dev wg0
guest ip link set wg0 up
ok 'its MTU becomes 1280' within 10 mtu_is wg0 1280
keepalive() { [ "$(guest wg show wg0 persistent-keepalive | cut -f 2)" = 25 ]; }
ok 'its peer gets a keepalive' within 10 keepalive
lacks 'no key in the journal' "$(guest journalctl -q -o export -u $unit)" "$(guest cat /run/key | tr -d '=' | sed 's/[+/]/./g')"

# wg-quick takes its time: until it is done, its peers are its own.
printf '[Interface]\nPrivateKey = %s\nPostUp = sleep 3\n[Peer]\nPublicKey = %s\n' "$(guest wg genkey)" "$peer" \
    | guest sh -c 'umask 077; mkdir -p /etc/wireguard; cat >/etc/wireguard/wg1.conf'
guest systemctl start --no-block wg-quick@wg1.service
ok 'wg-quick is waited for' within 10 journal_has 'wireguard-busy \(wg1\)'
keepalive_of_wg1() { guest wg show wg1 persistent-keepalive | cut -f 2; }
is 'its peer is as it was made' "$(keepalive_of_wg1) $(guest systemctl show -P ActiveState wg-quick@wg1.service)" 'off activating'
keepalive_set() { [ "$(keepalive_of_wg1)" = 25 ]; }
ok 'after it the peer gets a keepalive' within 20 keepalive_set
is 'and wg-quick had come to its end' "$(guest systemctl show -P ActiveState wg-quick@wg1.service)" active

# Faults.
guest systemctl stop $unit
guest mount --bind /etc /etc
guest mount -o remount,bind,ro /etc
guest systemctl start $unit
ok 'it starts with /etc read-only' within 10 is_active
set_address 172.28.30.1
ok 'and says what it cannot write' within 10 journal_has 'network-file-unwritable'
guest umount /etc
guest systemctl restart $unit
ok 'writable again, the file is right' within 10 network_file_has 'WSL_IP="172.28.30.1"'

guest rm -rf /var/lib/wslmesh
guest sysctl -qw net.ipv4.tcp_keepalive_time=7200
guest systemctl restart $unit
ok 'the state directory is created again' within 10 is_active
ok 'and values are set again' within 10 sysctl_is net.ipv4.tcp_keepalive_time 60

guest systemctl stop systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket systemd-journald.service
set_address 172.28.30.2
ok 'it works with journald stopped' within 10 network_file_has 'WSL_IP="172.28.30.2"'
guest systemctl start systemd-journald.service
ok 'and is up' is_active
