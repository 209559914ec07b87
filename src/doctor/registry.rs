//! The registry of checks: id, title, why it matters, the fix, and the function that
//! makes it. A new check is one entry in `registry!` and the function that it names.

use super::{
    checks::{
        address, agent, clock, conflicts, dns, files, interop, kernel, lifetime, mtu, ports,
        resources, sysctls, system, tailscale, tunnel, wireguard, wsl_files,
    },
    facts::Facts,
    verdict::{Judged, Verdict},
};

/// What `--fix` may do about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Nothing: the user or another program owns what has to change.
    None,
    /// One pass of the agent, which changes what the configuration asks for.
    Pass,
    /// Owner, mode and existence of wslmesh's own files and folders.
    Files,
    /// The link of /etc/resolv.conf to WSL's file, where the one that is there names no
    /// server.
    ResolvConf,
}

/// One check.
#[derive(Debug)]
pub struct Check {
    /// Its name in the output, in the JSON document and in the documentation; stable
    /// across versions.
    pub id: &'static str,
    /// What it is about, one of [`GROUPS`].
    pub group: &'static str,
    /// What should be true.
    pub title: &'static str,
    /// Why it matters, in sentences.
    pub why: &'static str,
    /// What to do about a finding, without a final dot.
    pub remediation: &'static str,
    /// What `--fix` does about it.
    pub fix: Fix,
    run: fn(&Facts) -> Judged,
}

impl Check {
    /// Makes the check.
    #[must_use]
    pub fn run(&self, facts: &Facts) -> Verdict {
        (self.run)(facts).unwrap_or_else(|skipped| skipped)
    }
}

macro_rules! registry {
    ($($group:literal {
        $($id:literal $title:literal $run:path, $fix:ident, $why:literal, $remediation:literal;)*
    })*) => {
        /// What checks are about, in the order of the output: their names there and on
        /// the command line.
        pub const GROUPS: &[&str] = &[$($group,)*];

        /// All checks, in the order of the output.
        pub const CHECKS: &[Check] = &[$($(Check {
            id: $id,
            group: $group,
            title: $title,
            why: $why,
            remediation: $remediation,
            fix: Fix::$fix,
            run: $run,
        },)*)*];
    };
}

registry! {
    "system" {
        "wsl-version" "WSL 2, recent enough" system::version, None,
            "WSL 1 has no network of its own to manage, and some fixes need a recent WSL 2.",
            "Run `wsl.exe --update` on Windows; on WSL 1 also `wsl.exe --set-version NAME 2`";
        "wsl-mode" "the networking mode is known and supported" system::mode, None,
            "The mode decides what Windows has to forward and which MTU Windows sets.",
            "Check that `wslinfo --networking-mode` answers; run `wslmesh wslconfig set networkingMode nat` (or mirrored), then `wsl.exe --shutdown` on Windows";
        "systemd-running" "systemd is the init" system::running, None,
            "The agent, wg-quick and tailscaled are systemd services.",
            "Run `sudo wslmesh wslconf set boot.systemd true`, then `wsl.exe --shutdown` on Windows";
        "systemd-configured" "/etc/wsl.conf enables systemd" system::configured, None,
            "WSL starts systemd only where this file says so. Guides that overwrite the whole file (to repair DNS) delete the line, and no service starts after the next restart of WSL.",
            "Run `sudo wslmesh wslconf set boot.systemd true`, which keeps the other lines";
        "wsl-conf" "/etc/wsl.conf is valid" wsl_files::wsl_conf, None,
            "WSL ignores what it does not know and uses the first of two equal keys; it warns only once, where wsl.exe was started.",
            "Run `wslmesh wslconf check`: it prints line and fix of every error";
        "configuration" "wslmesh's configuration is valid" system::configuration, None,
            "The agent rejects a configuration with any error as a whole.",
            "Run `wslmesh config check`: it prints file, line and fix of every error";
        "unit-enabled" "wslmesh.service is enabled" system::enabled, None,
            "Windows stops and starts the distribution at any time.",
            "Run `sudo systemctl enable wslmesh`";
        "unit-active" "wslmesh.service is running" system::active, None,
            "Without the agent nothing follows the next change of the address.",
            "See `journalctl -u wslmesh -b`, then run `sudo systemctl restart wslmesh`";
        "failed-units" "no unit that the node needs has failed" system::failed_units, None,
            "A tunnel or a name service that failed to start looks like a network that is down.",
            "See `systemctl status UNIT` and `journalctl -b -u UNIT`, then run `sudo systemctl restart UNIT`";
        "agent-health" "the agent reports no problem" agent::health, None,
            "The agent reports what it cannot fix itself.",
            "Run `wslmesh status`: it lists each finding with its fix";
    }
    "address" {
        "interface" "one interface with one address" address::interface, None,
            "Everything that follows the address needs to know which one it is. `hostname -I` prints a list that includes docker's and the tunnel's.",
            "Wait while Windows is connecting; else set [network] interface in wslmesh.toml, or run `wsl.exe --shutdown` on Windows";
        "default-route" "one default route" address::route, None,
            "Without a default route nothing leaves this distribution; of two with the same metric the kernel may use either.",
            "See `ip route`; wait while Windows is connecting, else run `wsl.exe --shutdown` on Windows";
        "network-file" "the network file is valid and current" address::network_file, Pass,
            "Scripts and units read the address from it. It must mean the same to `.` of a shell and to EnvironmentFile= of systemd.",
            "Run `sudo systemctl reload wslmesh` (start, if it is stopped), or `sudo wslmesh doctor --fix`";
        "old-listeners" "no service listens on a previous address" address::listeners, None,
            "A service that is bound to a previous address of this distribution cannot be reached.",
            "Let the service listen on 0.0.0.0 (ListenAddress 0.0.0.0 in sshd_config), or restart it when the address changes ([dependents])";
    }
    "mtu" {
        "tunnel-mtu" "tunnels have the configured MTU" mtu::tunnels, Pass,
            "Tunnel packets that are larger than the path allows are fragmented or dropped.",
            "Run `sudo systemctl reload wslmesh` (start, if it is stopped), or `sudo wslmesh doctor --fix`";
        "underlay-mtu" "the interface below carries the tunnels" mtu::underlay, Pass,
            "A tunnel with MTU 1280 needs 1340 below it (1360 over IPv6). WSL gives eth0 the lowest MTU of all Windows adapters, 1280 where Tailscale runs on Windows: full packets are then dropped.",
            "Run `sudo wslmesh doctor --fix`, where [mtu] underlay allows it; else raise the MTU of the Windows adapter with the lowest one";
        "mtu-probing" "TCP probes for the path MTU" mtu::probing, None,
            "Where a firewall drops ICMP, a TCP connection through the tunnel hangs at its first full packet.",
            "Set \"net.ipv4.tcp_mtu_probing\" = 1 in the section [sysctl] of /etc/wslmesh/wslmesh.toml, then run `sudo systemctl reload wslmesh`";
    }
    "sysctls" {
        "sysctl-values" "sysctls have the configured values" sysctls::values, Pass,
            "Large buffers make transfers fast, and keepalives detect a dead connection within two minutes. tcp_* applies to TCP inside a tunnel; the tunnel itself is UDP.",
            "Run `sudo systemctl reload wslmesh` (start, if it is stopped), or `sudo wslmesh doctor --fix`";
        "sysctl-allowed" "every configured sysctl can be set" sysctls::allowed, None,
            "WSL owns some sysctls in mirrored mode, and some belong to the whole virtual machine.",
            "Remove the key from [sysctl], or set it to false there";
    }
    "wireguard" {
        "wireguard-answers" "WireGuard devices answer" wireguard::answers, None,
            "A userspace daemon that hangs keeps its device but forwards nothing.",
            "Run `sudo wg show`; restart the tunnel with `sudo systemctl restart wg-quick@NAME`";
        "wireguard-keepalive" "peers have a keepalive" wireguard::keepalive, Pass,
            "Windows and the router forget a UDP flow after one or two minutes; peers then cannot reach this node until it sends something.",
            "Run `sudo systemctl reload wslmesh` (start, if it is stopped), or `sudo wslmesh doctor --fix`";
        "wireguard-handshake" "handshakes are recent" wireguard::handshakes, None,
            "A peer with a keepalive makes a new handshake every two minutes; after three minutes no packet passes.",
            "Check that the peer runs, its endpoint (`sudo wg show`), and on Windows the forward and the firewall (`wslmesh host check`)";
        "wireguard-port" "Windows passes the listen port on" wireguard::port, None,
            "In mirrored and consomme mode Windows passes a port on once a program binds it, which WireGuard in the kernel never does. The agent claims the port in its place, once for each time it is opened ([wireguard] claim-port; untested on Windows); ports of ip_local_port_range are reserved for this machine in mirrored mode and need no claim. What Windows answered is known, not whether packets arrive: a handshake from a peer shows that. Where WSL does not watch binds, the claim looks like an agreement.",
            "Set ListenPort to a port within `sysctl net.ipv4.ip_local_port_range` (mirrored mode), or use a userspace WireGuard";
        "wireguard-reachable" "peers can start a session with this node" wireguard::reachable, None,
            "In NAT mode nothing from outside arrives unless Windows forwards it, and `netsh interface portproxy` forwards TCP only. In mirrored mode nothing needs to be forwarded, but Windows' firewall keeps peers out until a rule lets them in: `wslmesh host install` makes it for a UDP forward of the port.",
            "Add a forward: `sudo wslmesh forward add NAME --protocol udp --listen-port PORT`";
    }
    "tailscale" {
        "tailscale-unit" "tailscaled is enabled and running" tailscale::unit, None,
            "Without it there is no Tailscale network. It manages its keepalives itself.",
            "Run `sudo systemctl enable --now tailscaled`";
        "tailscale-interface" "Tailscale's interface has an address" tailscale::interface, None,
            "A node that is logged out has an interface without an address.",
            "Run `sudo tailscale up`; ignore this if you want userspace mode";
    }
    "dns" {
        "resolv-conf" "/etc/resolv.conf names a server" dns::resolv_conf, ResolvConf,
            "Without a server no name resolves. The file is a link to one that WSL writes for all distributions.",
            "Run `sudo wslmesh doctor dns --fix`: it links the file to WSL's; where that is missing too, run `wsl.exe --shutdown` on Windows: WSL creates it again. Do not replace it by a public server, which knows none of your names, and never overwrite /etc/wsl.conf for it";
        "resolv-immutable" "WSL can write /etc/resolv.conf" dns::immutable, None,
            "A locked file keeps the servers of a previous network.",
            "Run `sudo chattr -i /etc/resolv.conf`, then `wsl.exe --shutdown` on Windows";
        "dns-answers" "the name server answers" dns::answers, None,
            "The test is one query for the root's name servers over UDP and TCP, which reveals nothing about this node. Servers outside of private networks are queried with --network only.",
            "Check name resolution and VPN on Windows, then run `wsl.exe --shutdown` there. Keep DNS tunnelling on";
        "dns-generated" "WSL keeps /etc/resolv.conf current" dns::generated, None,
            "generateResolvConf=false disables DNS tunnelling for this distribution, and with it Windows' hosts file and the names of its VPNs.",
            "Run `sudo wslmesh wslconf set network.generateResolvConf true`, which keeps the other lines (`sudo chattr -i /etc/resolv.conf`, if it is locked), then `wsl.exe --terminate NAME` on Windows: WSL links the file again";
        "dns-tunnelling" "DNS tunnelling works" dns::tunnelling, None,
            "WSL's own name server has 10.255.255.254 on lo, unless dnsTunnelingIpAddress in .wslconfig names another address. It asks Windows, so that names of VPNs and companies resolve.",
            "Run `wslmesh wslconfig set dnsTunneling true`, then `wsl.exe --shutdown` on Windows";
    }
    "tunnel" {
        "tunnel-nat" "Windows' NAT lets packets through" tunnel::nat, None,
            "In NAT mode everything leaves by the gateway on Windows, and a VPN or a policy there can leave a distribution without a network. The kernel asks the gateway for its address, which Windows' firewall does not drop as it does ping, and the name servers behind it are queried; either is enough.",
            "Set when = \"nat-broken\" in the section [tunnel] of /etc/wslmesh/wslmesh.toml and run `sudo systemctl reload wslmesh`, or run `sudo wslmesh tunnel up` now; disconnect the VPN on Windows, or run `wsl.exe --shutdown` there, to have NAT back";
        "tunnel-device" "the tunnel can be made" tunnel::device, None,
            "It needs /dev/net/tun, its unit, and systemd, which starts it.",
            "Run `sudo modprobe tun`, and `wslmesh wslconfig set loadDefaultKernelModules true`";
        "tunnel-unit" "the tunnel is up where it is wanted" tunnel::unit, None,
            "The agent starts wslmesh-tunnel.service as [tunnel] when says, and stops what it started. The program on Windows is started through interop.",
            "See `journalctl -u wslmesh-tunnel -b` and `wslmesh doctor interop`; then run `sudo systemctl reload wslmesh`, and the agent tries again";
    }
    "clock" {
        "clock-drift" "the clock is right" clock::drift, None,
            "The clock may be behind after Windows slept; certificates and WireGuard handshakes depend on it.",
            "A clock that is behind is set within a minute (`clock-follows`); one that is ahead is slowed down by WSL's chronyd, an hour takes half a day. If it stays wrong, run `wsl.exe --shutdown` on Windows, or let the agent set it (step-above in [clock], docs/clock.md)";
        "clock-setters" "one program sets the clock" clock::setters, None,
            "WSL runs its own chronyd for all distributions, which have one clock; a second program sets it back and forth. A chronyd with the option -x sets nothing.",
            "Keep one of them: in WSL its own, so turn the others off with `sudo systemctl disable --now UNIT`";
        "clock-kept" "a program keeps the kernel's clock" clock::kept, None,
            "A program that follows a better clock tells the kernel how far it may be wrong, as WSL's own chronyd does; setting the clock in one step takes that back. The kernel forgets it after nine hours.",
            "Wait a minute after a sleep of Windows; if it stays, run `wsl.exe --shutdown` on Windows (WSL starts its chronyd with the virtual machine), elsewhere `sudo systemctl enable --now systemd-timesyncd`";
        "clock-follows" "Hyper-V's driver follows Windows' clock" clock::follows, None,
            "The driver sets the clock forward when it is 5 s or more behind, for example after sleep.",
            "Remove hv_utils.timesync_implicit=0 from kernelCommandLine in %UserProfile%\\.wslconfig";
    }
    "interop" {
        "interop-binfmt" "the kernel can start Windows programs" interop::binfmt, None,
            "binfmt_misc passes .exe files that a shell starts to WSL's /init. The entry is WSLInterop, in some versions WSLInterop-late, and all distributions share one table. The agent calls /init itself. Since WSL 2.8.9 restarting systemd-binfmt does not bring the entry back.",
            "Run `echo :WSLInterop:M::MZ::/init:FP | sudo tee /proc/sys/fs/binfmt_misc/register`, which helps in every version until WSL restarts";
        "interop-socket" "WSL's init answers on its socket" interop::socket, None,
            "Windows programs are started through /run/WSL/1_interop; this does not need WSL_INTEROP. A socket accepts even where the channel behind it is dead, so the agent's last call counts.",
            "Run `wsl.exe --shutdown` on Windows; before it `sudo wslmesh wslconf set interop.enabled true`, if that is off";
        "interop-powershell" "powershell.exe is found" interop::powershell, None,
            "By it the agent asks what Windows has, and changes the port proxy. A service does not have Windows' PATH, so the agent looks for it on the mounted drives.",
            "Run `sudo wslmesh wslconf set automount.enabled true`, then `wsl.exe --shutdown` on Windows; test it with `wslmesh host check`";
        "interop-conf" "/etc/wsl.conf allows interop" interop::conf, None,
            "Interop and drives can be disabled for a distribution.",
            "Ignore this if you need no forwards";
        "interop-environment" "WSL_INTEROP is not stale" interop::environment, None,
            "A terminal that outlives its session (tmux, screen) names a socket that no longer exists.",
            "Run `unset WSL_INTEROP` in that terminal";
    }
    "ports" {
        "ports-listening" "a service listens behind each forward" ports::listening, None,
            "A forward without a service looks like a firewall problem. A service on 127.0.0.1 cannot be reached from outside.",
            "Start the service, or correct connect-port (`wslmesh forward list`)";
        "ports-exposed" "what listens on all addresses is meant for Windows' networks" ports::exposed, None,
            "In mirrored and consomme mode a service that listens on 0.0.0.0 or :: listens on Windows' addresses too, in every network that Windows is in, as far as its firewall allows.",
            "Let a service that is for this machine alone listen on 127.0.0.1; ignore this if clients elsewhere use it";
        "ports-published" "ports of containers can be discovered" ports::published, None,
            "[discovery] follows the rules in the kernel's tables of nftables. Those of iptables-legacy are elsewhere, and only its own programs can read them: a port that such rules alone publish is not found. Docker's userland proxy listens as well, so with it (the default) nothing is missed. The kernel keeps a table, also an empty one, until the virtual machine ends.",
            "Run `sudo update-alternatives --set iptables /usr/sbin/iptables-nft`, then `wsl.exe --shutdown` on Windows, which ends all distributions, or write a [[forward]] for each port; ignore this if all are found (`wslmesh forward list`)";
        "ports-kept" "nothing uses a port that Windows keeps" ports::kept, None,
            "In mirrored mode some ports never reach a distribution: UDP 68; TCP 135, 1900, 2869, 3702, 5004, 5357 and 5358.",
            "Choose another listen-port";
        "ports-firewall" "Windows' firewall has rules for the forwards" ports::firewall, None,
            "Windows blocks inbound traffic unless a rule allows it, and a Block rule beats the rules that allow. In mirrored mode Windows' own rules hold for a distribution, or those of the Hyper-V firewall where AllowHostPolicyMerge is off.",
            "Set firewall = \"local\" for the forward and run `wslmesh host install`; ignore this if you made rules by hand";
        "ports-windows" "Windows serves the forwards" ports::windows, None,
            "The agent learns at each call which ports Windows uses, excludes or forwards for another tool. A port that is reported as in use is usually excluded, and no program has it.",
            "Run `wslmesh status`: it lists each finding with its fix; `wslmesh host check` examines Windows";
    }
    "windows" {
        "wslconfig" ".wslconfig is valid" wsl_files::wslconfig, None,
            "WSL ignores what it does not know in %UserProfile%\\.wslconfig and uses the first of two equal keys; it warns only once, where wsl.exe was started.",
            "Run `wslmesh wslconfig check`: it prints line and fix of every error; then run `wsl.exe --shutdown` on Windows";
        "wslconfig-mode" "the configured networking mode is in force" wsl_files::mode, None,
            "WSL falls back from mirrored to NAT where Windows lacks something (Windows 10, a disabled firewall), and from NAT to consomme.",
            "Run `wsl.exe --shutdown` on Windows; if it stays, see what WSL prints when it starts";
        "wslconfig-network" "nothing that the node needs is disabled" wsl_files::network, None,
            "The firewall, DNS tunnelling and localhost forwarding are on unless the file disables them.",
            "Remove the line, then run `wsl.exe --shutdown` on Windows";
        "wslconfig-limits" "memory, processors and swap are sensible" wsl_files::limits, None,
            "WSL uses half of the memory by default.",
            "Run `wslmesh wslconfig set memory 4GB` (or processors, or swap), then `wsl.exe --shutdown` on Windows";
        "defender" "Microsoft Defender does not slow the virtual disk down" resources::defender, None,
            "Defender looks at what is written to the virtual disk's file. Only administrators can read its exclusions, so nothing is claimed here.",
            "Ask in an elevated PowerShell with `(Get-MpPreference).ExclusionPath`; exclude the folder of the virtual disk with `Add-MpPreference -ExclusionPath FOLDER` only if you need it: what is in an excluded folder is not scanned, so malware can hide there";
    }
    "lifetime" {
        "lifetime-idle" "the distribution keeps running without a terminal" lifetime::idle, None,
            "WSL does not count services as use. At a Windows logoff it stops in any case, and nothing starts it before the next logon.",
            "Run `wslmesh host install`; or `wslmesh wslconfig set instanceIdleTimeout -1`, then `wsl.exe --shutdown` on Windows";
    }
    "files" {
        "files-own" "wslmesh's files belong to root" files::own, Files,
            "Who can write them controls what the agent does as root.",
            "Run `sudo wslmesh doctor --fix`";
        "files-keys" "private keys are readable by their owner only" files::keys, None,
            "ssh rejects a key that others can read, and others can copy it. Keys of ssh (host and users), WireGuard, Tailscale, NetBird, Nebula and ZeroTier are looked at.",
            "Run `chmod 600 FILE`";
        "files-metadata" "files that need modes are where modes are kept" files::metadata, None,
            "On a Windows drive without the option metadata every file has the mode of umask=, fmask= and dmask=, usually 777: ssh rejects such keys, and others can read them.",
            "Move them into the Linux file system, or run `sudo wslmesh wslconf set automount.options metadata`, then `wsl.exe --shutdown` on Windows";
        "files-drives" "no service works on a Windows drive" files::drives, None,
            "Windows drives are many times slower, have no owners without metadata, and can disappear. Databases, images of containers and work trees of builds suffer most. Files that a service or a container has open count, too.",
            "Move it below /home, /srv or /var (a container: use a volume instead of a folder of the drive)";
    }
    "conflicts" {
        "conflicts-subnets" "no two networks overlap" conflicts::subnets, None,
            "Of two networks that overlap one cannot be reached: Windows itself, where a tunnel covers eth0's. Addresses and routes of the main table are compared; Tailscale and wg-quick's Table= have routes elsewhere, too.",
            "Give the tunnel or docker another subnet (AllowedIPs; default-address-pools in /etc/docker/daemon.json)";
        "conflicts-agents" "no other tool forwards" conflicts::agents, None,
            "Two tools that write Windows' forwards, or provide WSL's network, undo each other's work.",
            "Keep one of them and stop the other";
        "conflicts-pollers" "no script polls for the address" conflicts::pollers, None,
            "A scheduled script from before wslmesh may still write the same file, or rules with an old address.",
            "Remove it if it does what the agent does now";
    }
    "resources" {
        "memory" "memory is available" resources::memory, None,
            "The kernel kills processes when memory runs out.",
            "Stop large processes (`top -o %MEM`), or run `wslmesh wslconfig set memory` with a larger size";
        "swap" "swap is available" resources::swap, None,
            "WSL makes swap of a quarter of the memory's size by default.",
            "Run `wslmesh wslconfig set swap 2GB`, then `wsl.exe --shutdown` on Windows";
        "memory-pressure" "programs do not wait for memory" resources::pressure, None,
            "Where memory is short, programs wait for it long before the kernel kills one. Measured by the kernel (PSI, /proc/pressure/memory); 10 % of a minute is what systemd calls pressure.",
            "Stop large processes (`top -o %MEM`), or run `wslmesh wslconfig set memory` with a larger size";
        "oom-kills" "no process was killed for lack of memory" resources::oom_kills, None,
            "A service that was killed may be restarted, and lose what it was doing. A limit of its own (MemoryMax=) counts as well.",
            "See `sudo journalctl -k -g oom`; limit the process (MemoryMax= of its unit), or run `wslmesh wslconfig set memory` with a larger size";
        "limits" "no limit of the system or of a service is reached" resources::limits, None,
            "A service that may open no more files, or start no more processes, refuses clients although it runs; a full table of connections drops packets. WSL's distributions share the kernel's limits.",
            "Raise the limit that is named";
        "disk" "the disk has space" resources::disk, None,
            "The network file is replaced as a whole, and the journal grows.",
            "Free space: `sudo journalctl --vacuum-size=100M`, the package manager's cache, old container images";
        "inodes" "the disk has free inodes" resources::inodes, None,
            "Many small files can fill a file system that has space left.",
            "Find folders with very many files: `sudo du --inodes -xS / | sort -n | tail`";
        "disk-windows" "Windows' drive has space" resources::windows_disk, None,
            "The virtual disk is a file on Windows that grows; `df` shows its greatest size, and not what Windows can still give. Without space writes fail here. WSL's swap file is on Windows' drive, too. `wslmesh host check` (T25) says where the virtual disk is, if it was moved.",
            "Free space on that drive, or move the distribution: `wsl.exe --manage NAME --move FOLDER` on Windows";
        "inotify-watches" "many files can be watched" resources::watches, None,
            "Editors and builds watch files; changes on a Windows drive are not reported.",
            "Set fs.inotify.max_user_watches=524288 in /etc/sysctl.d/90-inotify.conf, then run `sudo sysctl --system`";
    }
    "kernel" {
        "kernel-wireguard" "WireGuard is available" kernel::wireguard, None,
            "WSL's kernel has it since 5.15; a custom one may lack it.",
            "Run `sudo modprobe wireguard`, or install wireguard-go; ignore this if you use Tailscale only";
        "kernel-tun" "programs can create tunnels" kernel::tun, None,
            "Tailscale and userspace WireGuard need /dev/net/tun. WSL loads it unless loadDefaultKernelModules is off.",
            "Run `sudo modprobe tun`; run `wslmesh wslconfig set loadDefaultKernelModules true`";
        "kernel-bridge" "packets between containers are filtered" kernel::bridge, None,
            "Without br_netfilter published ports and rules may not apply between containers.",
            "Run `sudo modprobe br_netfilter`; ignore this if no container talks to another";
        "kernel-modules" "modules of this kernel are installed" kernel::modules, None,
            "WSL can load modules; those of its own kernel are on a disk of their own.",
            "Ignore this if everything is built in; else set kernelModules beside kernel in %UserProfile%\\.wslconfig";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_plain() {
        let ids: BTreeSet<_> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), CHECKS.len());
        for id in ids {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(id.chars().all(plain), "{id}");
        }
    }

    #[test]
    fn every_check_says_why_and_what_to_do() {
        for check in CHECKS {
            let (id, fix) = (check.id, check.remediation);
            assert!(check.why.ends_with('.'), "{id}: why is a sentence");
            assert!(!fix.is_empty() && !fix.ends_with('.'), "{id}: fix");
            // Beside the severity there is room for this much.
            assert!(check.title.chars().count() <= 60, "{id}: {}", check.title);
        }
    }
}
