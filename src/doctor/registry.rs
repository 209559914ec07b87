//! The registry of checks: what each is called, why it is made, what to do when
//! it fails, and what makes it. A new check is one entry in `registry!` and the
//! function that it names.

use std::fmt;

use super::{
    checks::{
        address, clock, conflicts, dns, files, interop, kernel, lifetime, mtu, ports, resources,
        sysctls, system, tailscale, windows, wireguard,
    },
    facts::Facts,
    verdict::Verdict,
};

/// What `--fix` may do about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Nothing: the change is somebody else's to make, and is named as the fix.
    None,
    /// One pass of the agent, which changes what the configuration asks for.
    Pass,
    /// Owner, mode and existence of wslmesh's own files and folders.
    Files,
}

macro_rules! registry {
    ($($group:ident $word:literal {
        $($check:ident $id:literal $title:literal $run:path, $fix:ident, $why:literal, $remediation:literal;)*
    })*) => {
        /// What a check is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Group {
            $(#[doc = $word] $group,)*
        }

        impl Group {
            /// All groups, in the order of the output.
            pub const ALL: &'static [Self] = &[$(Self::$group,)*];

            /// Its name on the command line and in the output.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$group => $word,)* }
            }
        }

        /// One check, stable across versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Check {
            $($(#[doc = $title] $check,)*)*
        }

        impl Check {
            /// All checks, in the order of the output.
            pub const ALL: &'static [Self] = &[$($(Self::$check,)*)*];

            /// Its name in the JSON document and in the documentation.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $($(Self::$check => $id,)*)* }
            }

            /// What it is about.
            #[must_use]
            pub fn group(self) -> Group {
                match self { $($(Self::$check => Group::$group,)*)* }
            }

            /// What is looked at.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $($(Self::$check => $title,)*)* }
            }

            /// Why it matters.
            #[must_use]
            pub fn why(self) -> &'static str {
                match self { $($(Self::$check => $why,)*)* }
            }

            /// What to do when it is not as it should be.
            #[must_use]
            pub fn remediation(self) -> &'static str {
                match self { $($(Self::$check => $remediation,)*)* }
            }

            /// What `--fix` does about it.
            #[must_use]
            pub fn fix(self) -> Fix {
                match self { $($(Self::$check => Fix::$fix,)*)* }
            }

            /// Makes the check.
            #[must_use]
            pub fn run(self, facts: &Facts) -> Verdict {
                let judged = match self { $($(Self::$check => $run(facts),)*)* };
                judged.unwrap_or_else(Verdict::from)
            }
        }
    };
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

registry! {
    System "system" {
        WslVersion "wsl-version" "WSL 2 and its version" system::version, None,
            "WSL 1 has no network of its own to keep, and some fixes need a later WSL 2.",
            "Run `wsl.exe --update` on Windows; for WSL 1 also `wsl.exe --set-version NAME 2`";
        WslMode "wsl-mode" "WSL's networking mode" system::mode, None,
            "What Windows has to forward, and which MTU is its own, follows from the mode.",
            "Check that `wslinfo --networking-mode` answers; set networkingMode=nat or mirrored in %UserProfile%\\.wslconfig and run `wsl.exe --shutdown`";
        SystemdRunning "systemd-running" "systemd is the init" system::running, None,
            "The agent is a service of systemd, as are wg-quick and tailscaled.",
            "Add the line systemd=true to the section [boot] of /etc/wsl.conf, keep its other lines, and run `wsl.exe --shutdown` on Windows";
        SystemdConfigured "systemd-configured" "/etc/wsl.conf asks for systemd" system::configured, None,
            "WSL starts systemd only where this file says so. Advice that rewrites the file as a whole (to repair DNS) deletes the line, and after the next start no service runs.",
            "Add the line systemd=true to the section [boot] of /etc/wsl.conf and keep its other lines";
        WslConf "wsl-conf" "/etc/wsl.conf is understood" system::wsl_conf, None,
            "WSL skips what it does not know and takes the first of two equal keys; its warning is shown once, where wsl.exe was started.",
            "Correct the lines that are named in /etc/wsl.conf; `man wslmesh` names no key of that file: https://learn.microsoft.com/windows/wsl/wsl-config does";
        Configuration "configuration" "wslmesh's configuration is right" system::configuration, None,
            "A configuration with an error is refused as a whole.",
            "Correct it; `wslmesh config check` names file, line and fix";
        UnitEnabled "unit-enabled" "wslmesh.service starts by itself" system::enabled, None,
            "Windows stops and starts the distribution whenever it likes.",
            "Run `sudo systemctl enable wslmesh`";
        UnitActive "unit-active" "wslmesh.service runs" system::active, None,
            "Without the agent nothing follows the next change of the address.",
            "Look at `journalctl -u wslmesh -b`, then `sudo systemctl restart wslmesh`";
        FailedUnits "failed-units" "no unit of the node has failed" system::failed_units, None,
            "A tunnel or a name service that did not start looks like a network that is down.",
            "Look at `systemctl status UNIT` and `journalctl -b -u UNIT`, then `sudo systemctl restart UNIT`";
        AgentHealth "agent-health" "the agent is well" system::health, None,
            "The agent names by itself what it cannot put right.",
            "`wslmesh status` has each trouble with its fix";
    }
    Address "address" {
        Interface "interface" "one interface with one IPv4 address" address::interface, None,
            "All that follows the address needs to know which one it is. `hostname -I` is a list, with docker's and the tunnel's in it.",
            "Nothing to do while Windows is connecting; else name the interface in [network] interface, or run `wsl.exe --shutdown` on Windows";
        DefaultRoute "default-route" "one default route" address::route, None,
            "Without one nothing leaves this distribution; of two with one metric the kernel may take either.",
            "Look at `ip route`; nothing to do while Windows is connecting, else run `wsl.exe --shutdown` on Windows";
        NetworkFile "network-file" "the network file is there, valid and current" address::network_file, Pass,
            "Scripts and units read the address from it. It must mean the same to `.` of a shell and to EnvironmentFile= of systemd.",
            "Run `sudo systemctl reload wslmesh` (start, where it does not run), or `sudo wslmesh doctor --fix`";
        OldListeners "old-listeners" "no service listens on an address of the past" address::listeners, None,
            "A service bound to the address that this distribution had is reachable by nobody after a change.",
            "Let the service listen on 0.0.0.0 (ListenAddress 0.0.0.0 in sshd_config), or restart it with each change of the address";
    }
    Mtu "mtu" {
        TunnelMtu "tunnel-mtu" "tunnels have the configured MTU" mtu::tunnels, Pass,
            "Packets of a tunnel that are too large for its way are fragmented or vanish.",
            "Run `sudo systemctl reload wslmesh` (start, where it does not run), or `sudo wslmesh doctor --fix`";
        UnderlayMtu "underlay-mtu" "the interface below carries the tunnels" mtu::underlay, Pass,
            "A tunnel of 1280 bytes needs 1340 below it (1360 over IPv6). WSL gives eth0 the lowest MTU of all Windows adapters, 1280 where Tailscale runs on Windows: then full packets vanish.",
            "`sudo wslmesh doctor --fix`, where [mtu] underlay allows it; else raise the MTU of the Windows adapter that is the lowest";
        MtuProbing "mtu-probing" "TCP finds out what a path carries" mtu::probing, None,
            "Where a firewall swallows the messages about packets that are too large, a TCP connection through the tunnel hangs once it has much to say.",
            "Set \"net.ipv4.tcp_mtu_probing\" = 1 in the section [sysctl] of /etc/wslmesh/wslmesh.toml, then `sudo systemctl reload wslmesh`";
    }
    Sysctls "sysctls" {
        SysctlValues "sysctl-values" "kernel parameters are as configured" sysctls::values, Pass,
            "Buffers for fast transfers, and keepalives that notice a dead connection within two minutes. tcp_* is for what runs through a tunnel; the tunnel itself is UDP.",
            "Run `sudo systemctl reload wslmesh` (start, where it does not run), or `sudo wslmesh doctor --fix`";
        SysctlAllowed "sysctl-allowed" "every configured parameter can be set" sysctls::allowed, None,
            "WSL owns some parameters in mirrored mode, and some belong to the whole virtual machine.",
            "Remove the key from [sysctl], or set it to false there";
    }
    Wireguard "wireguard" {
        WireguardAnswers "wireguard-answers" "WireGuard devices answer" wireguard::answers, None,
            "A userspace daemon that hangs keeps its device and carries nothing.",
            "Check `sudo wg show`; restart the tunnel (`sudo systemctl restart wg-quick@NAME`)";
        WireguardKeepalive "wireguard-keepalive" "peers have a keepalive" wireguard::keepalive, Pass,
            "Windows and the router forget a UDP flow after a minute or two; then nobody reaches this end until it speaks.",
            "Run `sudo systemctl reload wslmesh` (start, where it does not run), or `sudo wslmesh doctor --fix`";
        WireguardHandshake "wireguard-handshake" "peers are in touch" wireguard::handshakes, None,
            "A peer with a keepalive has a new handshake every two minutes; after three no packet passes any more.",
            "Check that the peer runs, its endpoint (`sudo wg show`), and on Windows the forward and the firewall (`wslmesh host check`)";
        WireguardPort "wireguard-port" "Windows lets the listen port through" wireguard::port, None,
            "In mirrored mode Windows hands a port to a program that binds it, and WireGuard in the kernel never does; the ports of ip_local_port_range are kept for this machine without that.",
            "Set ListenPort to a port within `sysctl net.ipv4.ip_local_port_range`, or use a userspace WireGuard";
        WireguardReachable "wireguard-reachable" "peers can begin towards this node" wireguard::reachable, None,
            "In NAT mode nothing from outside arrives unless Windows forwards it, and `netsh interface portproxy` forwards TCP alone.",
            "Add a forward: `sudo wslmesh forward add NAME --protocol udp --listen-port PORT`";
    }
    Tailscale "tailscale" {
        TailscaleUnit "tailscale-unit" "tailscaled runs and starts by itself" tailscale::unit, None,
            "Without it there is no Tailscale network; keepalives are its own business.",
            "Run `sudo systemctl enable --now tailscaled`";
        TailscaleInterface "tailscale-interface" "Tailscale's interface has an address" tailscale::interface, None,
            "A node that is logged out has an interface and no address.",
            "Run `sudo tailscale up`; nothing to do where userspace mode is meant";
    }
    Dns "dns" {
        ResolvConf "resolv-conf" "/etc/resolv.conf names a server" dns::resolv_conf, None,
            "Without it no name resolves. It is a link to a file that WSL writes for all distributions.",
            "Run `wsl.exe --shutdown` on Windows, and WSL makes it anew; do not replace it by a public server, which knows no name of yours, and never write /etc/wsl.conf anew for it";
        ResolvImmutable "resolv-immutable" "WSL can write /etc/resolv.conf" dns::immutable, None,
            "A file that is locked keeps the servers of a network that was left long ago.",
            "Run `sudo chattr -i /etc/resolv.conf`, then `wsl.exe --shutdown` on Windows";
        DnsAnswers "dns-answers" "the name server answers" dns::answers, None,
            "One question for the root's name servers, which tells the server nothing of this node. Servers outside of private networks are asked with --network only.",
            "Check Windows' own name resolution and VPN; then `wsl.exe --shutdown` on Windows. Keep DNS tunnelling on";
        DnsGenerated "dns-generated" "WSL keeps /etc/resolv.conf current" dns::generated, None,
            "generateResolvConf=false ends DNS tunnelling for this distribution, and with it Windows' hosts file and the names of its VPNs.",
            "Remove generateResolvConf=false from the section [network] of /etc/wsl.conf, keep its other lines, remove /etc/resolv.conf, then `wsl.exe --shutdown` on Windows";
        DnsTunnelling "dns-tunnelling" "DNS tunnelling is whole" dns::tunnelling, None,
            "WSL's own name server is at 10.255.255.254 on lo, unless dnsTunnelingIpAddress in .wslconfig says otherwise. It asks Windows, so that VPNs and corporate names work.",
            "Run `wsl.exe --shutdown` on Windows; remove dnsTunneling=false from %UserProfile%\\.wslconfig";
    }
    Clock "clock" {
        ClockDrift "clock-drift" "the clock is right" clock::drift, None,
            "After a sleep of Windows the clock here may be behind; certificates and WireGuard's handshakes go by it.",
            "Wait a minute: Windows sets it forward by itself. If it stays, `wsl.exe --shutdown` on Windows; `sudo hwclock -s` is a last resort";
        ClockSetters "clock-setters" "one program sets the clock" clock::setters, None,
            "WSL runs a chronyd of its own for all distributions; another one sets the clock back and forth.",
            "Run `sudo systemctl disable --now systemd-timesyncd` (or chronyd) where WSL does it";
        ClockFollows "clock-follows" "Hyper-V's driver follows Windows' clock" clock::follows, None,
            "The driver sets the clock forward when it is 5 s or more behind, as after a sleep.",
            "Remove hv_utils.timesync_implicit=0 from kernelCommandLine in %UserProfile%\\.wslconfig";
    }
    Interop "interop" {
        InteropBinfmt "interop-binfmt" "the kernel knows Windows programs" interop::binfmt, None,
            "binfmt_misc leads .exe files to WSL's /init. The entry is WSLInterop, or WSLInterop-late with some versions, and one table serves all distributions.",
            "Run `sudo systemctl restart systemd-binfmt`; if that does not help, `wsl.exe --shutdown` on Windows";
        InteropSocket "interop-socket" "a socket of WSL's init answers" interop::socket, None,
            "Windows programs are started through /run/WSL/1_interop; WSL_INTEROP need not be set for that.",
            "Run `wsl.exe --shutdown` on Windows; set enabled=true in the section [interop] of /etc/wsl.conf";
        InteropPowershell "interop-powershell" "powershell.exe is found" interop::powershell, None,
            "Forwards on Windows are made by it. A service has not Windows' PATH, so it is looked for on the mounted drives.",
            "Set enabled=true in the section [automount] of /etc/wsl.conf, then `wsl.exe --shutdown` on Windows; `wslmesh host check` tries it";
        InteropConf "interop-conf" "/etc/wsl.conf leaves the way open" interop::conf, None,
            "Interop and drives can be switched off for a distribution.",
            "Nothing to do where no forward is wanted";
        InteropEnvironment "interop-environment" "WSL_INTEROP is not stale" interop::environment, None,
            "A terminal that outlives its session (tmux, screen) names a socket that is gone.",
            "Run `unset WSL_INTEROP` in that terminal";
    }
    Ports "ports" {
        PortsListening "ports-listening" "a service listens behind each forward" ports::listening, None,
            "A forward that leads nowhere looks like a firewall. A service on 127.0.0.1 alone hears nothing from outside.",
            "Start the service, or correct connect-port (`wslmesh forward list`)";
        PortsKept "ports-kept" "no forward has a port that Windows keeps" ports::kept, None,
            "In mirrored mode some ports never reach a distribution: UDP 68; TCP 135, 1900, 2869, 3702, 5004, 5357 and 5358.",
            "Choose another listen-port";
        PortsFirewall "ports-firewall" "Windows' firewall knows the forwards" ports::firewall, None,
            "Inbound is closed on Windows unless a rule opens it.",
            "Set firewall = \"local\" for the forward and run `wslmesh host install`; nothing to do where rules were made by hand";
        PortsWindows "ports-windows" "Windows does its part" ports::windows, None,
            "Which ports Windows has, excludes or forwards for another tool is what the agent was told at its last call. A port in use is usually excluded and held by nobody.",
            "`wslmesh status` has each trouble with its fix, `wslmesh host check` examines Windows";
    }
    Windows "windows" {
        Wslconfig "wslconfig" ".wslconfig is understood" windows::wslconfig, None,
            "WSL skips what it does not know in %UserProfile%\\.wslconfig and takes the first of two equal keys; its warning is shown once, where wsl.exe was started.",
            "Correct the lines that are named in %UserProfile%\\.wslconfig, then `wsl.exe --shutdown` on Windows";
        WslconfigMode "wslconfig-mode" "the networking mode is the one asked for" windows::mode, None,
            "Mirrored falls back to NAT where Windows lacks something (Windows 10, a disabled firewall), and NAT to consomme.",
            "Run `wsl.exe --shutdown` on Windows; if it stays, look at what WSL prints when it starts";
        WslconfigNetwork "wslconfig-network" "nothing that the node uses is switched off" windows::network, None,
            "The firewall, DNS tunnelling and localhost forwarding are on unless the file says otherwise.",
            "Remove the line, then `wsl.exe --shutdown` on Windows";
        WslconfigLimits "wslconfig-limits" "memory, processors and swap are sensible" windows::limits, None,
            "WSL takes half of the memory unless it is told otherwise.",
            "Set memory, processors and swap in the section [wsl2] of %UserProfile%\\.wslconfig, such as memory=4GB";
    }
    Lifetime "lifetime" {
        LifetimeIdle "lifetime-idle" "the distribution stays without a terminal" lifetime::idle, None,
            "WSL does not count services. At a Windows logoff it stops in any case, and nothing starts it before a logon.",
            "Run `wslmesh host install`; or set instanceIdleTimeout=-1 in the section [general] of %UserProfile%\\.wslconfig, then `wsl.exe --shutdown` on Windows";
    }
    Files "files" {
        FilesOwn "files-own" "wslmesh's own files are root's" files::own, Files,
            "Whoever writes them decides what root's agent does.",
            "`sudo wslmesh doctor --fix`";
        FilesKeys "files-keys" "private keys are their owner's alone" files::keys, None,
            "ssh refuses a key that others can read, and anybody can copy it.",
            "Run `chmod 600` on it";
        FilesDrives "files-drives" "no service works on a Windows drive" files::drives, None,
            "Windows' drives are many times slower, know no owners without metadata, and may be gone.",
            "Move it below /home, /srv or /var";
    }
    Conflicts "conflicts" {
        ConflictsSubnets "conflicts-subnets" "no two networks overlap" conflicts::subnets, None,
            "WSL, docker and tunnels all choose from the private ranges. Of two that overlap one is out of reach, Windows itself where a tunnel covers eth0's. Routes are those of the main table: a network that is in a table of its own, as Tailscale's and wg-quick's Table= are, is seen by its interface's address alone.",
            "Give the tunnel or docker another subnet (AllowedIPs; default-address-pools in /etc/docker/daemon.json)";
        ConflictsAgents "conflicts-agents" "no other tool forwards" conflicts::agents, None,
            "Two that write Windows' forwards, or carry WSL's network, undo each other's work.",
            "Decide for one, and stop the other";
        ConflictsPollers "conflicts-pollers" "no script polls for the address" conflicts::pollers, None,
            "A scheduled script from before wslmesh may still write the same file, or rules with an old address.",
            "Remove it where it does what the agent does now";
    }
    Resources "resources" {
        Memory "memory" "there is memory" resources::memory, None,
            "The kernel kills what it finds when memory ends.",
            "Stop what is large (`top -o %MEM`), or raise memory= in the section [wsl2] of %UserProfile%\\.wslconfig";
        Swap "swap" "there is swap" resources::swap, None,
            "WSL makes a quarter of the memory's size unless it is told otherwise.",
            "Set swap=2GB in the section [wsl2] of %UserProfile%\\.wslconfig, or remove swap=0";
        Disk "disk" "there is room" resources::disk, None,
            "The network file is replaced as a whole, and the journal grows.",
            "Free some: `sudo journalctl --vacuum-size=100M`, the package manager's cache, old images of containers";
        Inodes "inodes" "there are file names left" resources::inodes, None,
            "A file system may be full of small files although it has room.",
            "Look for folders with very many files: `sudo du --inodes -xS / | sort -n | tail`";
        Watches "inotify-watches" "many files can be watched" resources::watches, None,
            "Editors and builds watch files; nothing on a Windows drive tells of a change.",
            "Set fs.inotify.max_user_watches=524288 in /etc/sysctl.d/90-inotify.conf, then `sudo sysctl --system`";
    }
    Kernel "kernel" {
        KernelWireguard "kernel-wireguard" "WireGuard is to be had" kernel::wireguard, None,
            "WSL's kernel has it since 5.15; a custom one may lack it.",
            "Run `sudo modprobe wireguard`, or install wireguard-go; nothing to do where Tailscale is all";
        KernelTun "kernel-tun" "tunnels of programs are to be had" kernel::tun, None,
            "Tailscale and userspace WireGuard need /dev/net/tun. WSL loads it unless loadDefaultKernelModules is off.",
            "Run `sudo modprobe tun`; remove loadDefaultKernelModules=false from %UserProfile%\\.wslconfig";
        KernelBridge "kernel-bridge" "containers' packets pass the packet filter" kernel::bridge, None,
            "Without br_netfilter published ports and rules of containers may not hold between containers.",
            "Run `sudo modprobe br_netfilter`; nothing to do where no container talks to another";
        KernelModules "kernel-modules" "there are modules for this kernel" kernel::modules, None,
            "WSL can load modules, those of its own kernel from a disk of its own.",
            "Nothing to do while all is built in; else set kernelModules beside kernel in %UserProfile%\\.wslconfig";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_plain() {
        let ids: BTreeSet<_> = Check::ALL.iter().map(|check| check.id()).collect();
        assert_eq!(ids.len(), Check::ALL.len());
        for id in ids {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(id.chars().all(plain), "{id}");
        }
    }

    #[test]
    fn every_check_says_why_and_what_to_do() {
        for check in Check::ALL {
            let (id, why, remediation) = (check.id(), check.why(), check.remediation());
            assert!(why.ends_with('.'), "{id}: why is a sentence");
            assert!(
                !remediation.is_empty() && !remediation.ends_with('.'),
                "{id}: fix"
            );
            // Beside the grade there is room for this much.
            assert!(
                check.title().chars().count() <= 60,
                "{id}: {}",
                check.title()
            );
        }
    }
}
