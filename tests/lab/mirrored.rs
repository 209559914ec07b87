//! The guest's network as WSL makes it in mirrored mode (microsoft/WSL: src/linux/init/GnsEngine.cpp
//! and NetworkManager.cpp, src/windows/service/exe/WslMirroredNetworking.cpp), as far as a
//! namespace can have it. Not here: the GUIDs in /sys; the tracker of binds is in `tracker.rs`.

use anyhow::Result;

use crate::topology::FIRST;
use crate::world::World;

/// Windows' two adapters: eth0 with the better metric, eth1 beside it, eth2 unplugged.
const LINKS: &str = "
ip addr add 10.255.255.254/32 dev lo
ip link add loopback0 type veth peer name windowslo
ip addr add 169.254.73.250/30 dev loopback0 noprefixroute
ip link set windowslo up; ip link set loopback0 up
ip link add eth1 type veth peer name far1
ip link add eth2 type veth peer name far2
ip link set far1 up; ip link set eth1 up
ip addr add 192.168.77.23/24 dev eth1 noprefixroute
ip route add 192.168.77.0/24 dev eth1 metric 306
ip route add default via 192.168.77.1 dev eth1 metric 50
";

/// The rules at 0 to 2, the tables behind them, the marks, the parameters and the ports.
const RULES: &str = "
ip rule add pref 2 lookup local
ip rule del pref 0 lookup local
for link in loopback0 eth0 eth1; do
    ip rule add pref 0 iif $link ipproto tcp lookup local
    ip rule add pref 0 iif $link ipproto udp lookup local
done
ip route add 127.0.0.1/32 via 169.254.73.249 dev loopback0 onlink table 127
ip rule add pref 1 lookup 127
nft -f - <<'RULESET'
table ip filter {
    chain WSLOUTPUT {
        type filter hook output priority filter; meta mark set 0x1
    }
}
table ip6 filter {
    chain WSLOUTPUT {
        type filter hook output priority filter; meta mark set 0x1
    }
}
table ip nat {
    chain WSLPOSTROUTING {
        type nat hook postrouting priority srcnat - 1;
        oifname { eth0, eth1 } meta l4proto { tcp, udp } meta mark != 0x1 masquerade to :60416-64511
    }
}
RULESET
cd /proc/sys/net/ipv4
echo '60416 64511' >ip_local_port_range
for link in all loopback0; do
    echo 1 >conf/$link/accept_local; echo 1 >conf/$link/route_localnet; echo 0 >conf/$link/rp_filter
    echo 1 >conf/$link/arp_filter
done
";

impl World {
    /// Makes the guest's network that of mirrored mode.
    pub(crate) fn mirror(&self) -> Result<()> {
        self.shell(LINKS)?;
        self.give(FIRST)?;
        self.shell(RULES).map(drop)
    }

    /// Gives eth0 an address as gns does: what was there goes, and the routes come apart from
    /// it, with the metrics of Windows.
    pub(crate) fn give(&self, address: &str) -> Result<()> {
        self.shell(&format!(
            "ip -4 addr flush dev eth0
            ip addr add {address}/20 dev eth0 noprefixroute
            ip route replace 172.28.16.0/20 dev eth0 metric 281
            ip route add default via 172.28.16.1 dev eth0 metric 25"
        ))
        .map(drop)
    }

    /// What WSL owns there, for a comparison.
    pub(crate) fn owned_by_wsl(&self) -> Result<String> {
        self.shell(
            "ip rule; ip route show table 127; nft list ruleset
            cd /proc/sys/net/ipv4; cat ip_local_port_range
            cat conf/all/accept_local conf/all/route_localnet conf/all/rp_filter conf/all/arp_filter",
        )
    }
}
