//! The guest's network as WSL makes it in mirrored mode (microsoft/WSL: src/linux/init/GnsEngine.cpp
//! and NetworkManager.cpp, src/windows/service/exe/WslMirroredNetworking.cpp), as far as a
//! namespace can have it. Not here: the GUIDs in /sys; the tracker of binds is in `tracker.rs`.

use anyhow::Result;

use crate::topology::{FIRST, Place};
use crate::world::World;

/// Windows' two adapters: eth0 with the better metric, eth1 beside it, eth2 unplugged.
const LINKS: &str = "
addr add 10.255.255.254/32 dev lo
link add loopback0 type veth peer name windowslo
addr add 169.254.73.250/30 dev loopback0 noprefixroute
link set windowslo up
link set loopback0 up
link add eth1 type veth peer name far1
link add eth2 type veth peer name far2
link set far1 up
link set eth1 up
addr add 192.168.77.23/24 dev eth1 noprefixroute
route add 192.168.77.0/24 dev eth1 metric 306
route add default via 192.168.77.1 dev eth1 metric 50
";

/// The rules at 0 to 2 and the tables behind them, for TCP (6) and UDP (17): a machine without
/// /etc/protocols has no names for them.
const RULES: &str = "
rule add pref 2 lookup local
rule del pref 0 lookup local
rule add pref 0 iif loopback0 ipproto 6 lookup local
rule add pref 0 iif loopback0 ipproto 17 lookup local
rule add pref 0 iif eth0 ipproto 6 lookup local
rule add pref 0 iif eth0 ipproto 17 lookup local
rule add pref 0 iif eth1 ipproto 6 lookup local
rule add pref 0 iif eth1 ipproto 17 lookup local
route add 127.0.0.1/32 via 169.254.73.249 dev loopback0 onlink table 127
rule add pref 1 lookup 127
";
/// The marks, the parameters and the ports.
const MARKS: &str = "
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
        oifname { eth0, eth1 } meta l4proto { 6, 17 } meta mark != 0x1 masquerade to :60416-64511
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
        self.batch(LINKS)?;
        self.give(FIRST)?;
        self.batch(RULES)?;
        self.shell(MARKS).map(drop)
    }

    /// Gives eth0 an address as gns does: what was there goes, and the routes come apart from
    /// it, with the metrics of Windows.
    pub(crate) fn give(&self, address: &str) -> Result<()> {
        self.batch(&format!(
            "addr flush dev eth0
            addr add {address}/20 dev eth0 noprefixroute
            route replace 172.28.16.0/20 dev eth0 metric 281
            route add default via 172.28.16.1 dev eth0 metric 25\n"
        ))
    }

    /// In one iproute2: the shell of the VM has an `ip` of its own.
    fn batch(&self, lines: &str) -> Result<()> {
        let ip = ["ip", "-4", "-batch", "-"];
        self.run(Place::Guest, &ip, lines.as_bytes())?
            .ok()
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
