# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# A boot with an enabled service that needs the tunnel, whose peer comes later than the tunnel.
umask 077
if [ "$boots" = 1 ]; then
    wg genkey >/etc/wireguard/near.key
    wg genkey >/etc/wireguard/far.key
    near=$(wg pubkey </etc/wireguard/near.key) far=$(wg pubkey </etc/wireguard/far.key)
    cat >/etc/wireguard/wg0.conf <<T
[Interface]
PrivateKey = $(cat /etc/wireguard/near.key)
Address = 10.9.0.1/24
[Peer]
PublicKey = $far
Endpoint = 172.28.16.1:51820
AllowedIPs = 10.9.0.2/32
T
    cat >/usr/local/sbin/peer <<T
#!/bin/sh
until ip netns exec windows ip address show dev windows 2>/dev/null | grep -q 172.28.16.1; do sleep 0.1; done
# It comes after the tunnel.
until ip link show wg0 up 2>/dev/null | grep -q wg0; do sleep 0.1; done
sleep 2
ip -n windows link add far type wireguard
ip netns exec windows wg set far private-key /etc/wireguard/far.key listen-port 51820 peer "$near" allowed-ips 10.9.0.1/32
ip -n windows address add 10.9.0.2/24 dev far
ip -n windows link set far mtu 1280 up
date +%s%N >/run/peer-is-up
T
    chmod 755 /usr/local/sbin/peer
    printf '[Service]\nExecStart=/usr/local/sbin/peer\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/peer.service
    cat >/etc/systemd/system/needs.service <<'T'
[Unit]
After=wslmesh-online.target
Requires=wslmesh-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=-/etc/wslmesh/wsl-network.conf
ExecStart=sh -c 'date +%%s%%N >/run/needs; wg show wg0 latest-handshakes | cut -f 2 >>/run/needs; echo "$MESH_IP_WIREGUARD" >>/run/needs'
[Install]
WantedBy=multi-user.target
T
    systemctl enable wg-quick@wg0 peer needs 2>/dev/null
    reboot_guest
fi
ok 'the service has started' within 60 systemctl is-active -q needs
ok 'the target is reached' systemctl is-active -q wslmesh-online.target
mapfile -t noted </run/needs
ok 'after the peer was up' [ "${noted[0]}" -gt "$(cat /run/peer-is-up)" ]
ok 'and had answered' [ "${noted[1]}" -gt 0 ]
is 'with the address of the tunnel' "${noted[2]}" 10.9.0.1
echo "# $(((noted[0] - $(cat /run/peer-is-up)) / 1000000)) ms after the peer was up; $(journalctl -q -b -o cat -u wslmesh-wait-online | grep '^online after')"
is 'no unit has failed' "$(systemctl --failed --no-legend --plain)" ''
has 'it is hardened' "$(systemd-analyze security --no-pager wslmesh-wait-online.service | tail -n 1)" ' [0-3]\.[0-9] '
