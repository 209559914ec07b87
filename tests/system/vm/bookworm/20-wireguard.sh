# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# A kernel's own WireGuard: made by ip and by wg-quick, with a peer that answers.
umask 077
wg genkey >/run/near.key
wg genkey >/run/far.key
near=$(wg pubkey </run/near.key) far=$(wg pubkey </run/far.key)
# The peer, behind the wire. Its packets leave where the device was made.
windows ip link add far type wireguard
windows wg set far private-key /run/far.key listen-port 51820 peer "$near" allowed-ips 10.9.0.1/32
windows ip address add 10.9.0.2/24 dev far
windows ip link set far mtu 1280 up
# No service listens there, so a round trip ends with a refusal.
round_trip() { timeout 5 bash -c ': </dev/tcp/10.9.0.2/9' 2>&1 | grep -q refused; }
knows_address() { windows wg show far endpoints | grep -q "$1:"; }

ip link add wg0 type wireguard
wg set wg0 private-key /run/near.key peer "$far" allowed-ips 10.9.0.2/32 endpoint 172.28.16.1:51820
ip address add 10.9.0.1/24 dev wg0
ip link set wg0 up
ok 'made by ip: the MTU becomes 1280' within 20 mtu_is wg0 1280
ok 'made by ip: the peer gets a keepalive' within 20 keepalive_is 25
ok 'made by ip: packets go there and back' within 30 round_trip
handshake=$(wg show wg0 latest-handshakes | cut -f 2)
ok 'a handshake was made' [ "$handshake" -gt 0 ]
ok 'the peer knows the address' knows_address 172.28.16.5
set_address 172.28.27.77
ok 'the file follows an address change' within 20 network_file_has 'WSL_IP="172.28.27.77"'
ok 'packets go there and back as before' within 30 round_trip
ok 'the peer has learnt the new address' within 20 knows_address 172.28.27.77
is 'without another handshake' "$(wg show wg0 latest-handshakes | cut -f 2)" "$handshake"
ip link delete wg0

mkdir -p /etc/wireguard
cat >/etc/wireguard/wg0.conf <<T
[Interface]
PrivateKey = $(cat /run/near.key)
Address = 10.9.0.1/24
PostUp = sleep 1

[Peer]
PublicKey = $far
Endpoint = 172.28.16.1:51820
AllowedIPs = 10.9.0.2/32
T
quick=wg-quick@wg0.service
# That nothing is touched meanwhile is tried in ../../30-network.sh: the agent gives
# systemd 200 ms to say that wg-quick is at work, and here that may take longer.
systemctl start --no-block $quick
ok 'wg-quick: it comes up' within 30 systemctl is-active -q $quick
ok 'wg-quick: the MTU becomes 1280' within 20 mtu_is wg0 1280
ok 'wg-quick: the peer gets a keepalive' within 20 keepalive_is 25
ok 'wg-quick: packets go there and back' within 30 round_trip
sed -i '/^PostUp/d' /etc/wireguard/wg0.conf
index=$(cat /sys/class/net/wg0/ifindex)
ok 'wg-quick: it is restarted' systemctl restart $quick
ok 'wg-quick: the device is another' [ "$(cat /sys/class/net/wg0/ifindex)" != "$index" ]
ok 'wg-quick: the MTU is 1280 again' within 20 mtu_is wg0 1280
ok 'wg-quick: so is the keepalive' within 20 keepalive_is 25
ok 'wg-quick: packets go there and back again' within 30 round_trip

guest journalctl -q -b -o export -u $unit >/run/journal
ok 'the journal has the devices' grep -q wg0 /run/journal
ok 'it has no private key' not grep -F "$(cat /run/near.key)" /run/journal
