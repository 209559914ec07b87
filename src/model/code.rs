//! The registry of health codes.
//!
//! Status, journal, catalog and documentation are generated from one table: a new code
//! is one entry in `registry!`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::display_as_serialized;

display_as_serialized!(Severity);

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Ordinary; good to know.
    Info,
    /// Something the user asked for does not work now: the node is degraded.
    Warning,
    /// The agent cannot do its main job.
    Error,
}

macro_rules! registry {
    ($($variant:ident, $name:literal, $severity:ident, $text:literal, $remediation:literal;)*) => {
        /// A kind of problem; names are stable across versions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $text] $variant,)*
        }

        impl Code {
            /// All codes, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as written in the journal and in the documentation.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How much it matters.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What it means.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What to do about it.
            #[must_use]
            pub fn remediation(self) -> &'static str {
                match self { $(Self::$variant => $remediation,)* }
            }
        }
    };
}

registry! {
    NoInterface, "no-interface", Error,
        "No interface to watch was found.",
        "No action needed while Windows is connecting; otherwise name the interface in [network] interface (`ip route` lists them)";
    NoAddress, "no-address", Error,
        "The watched interface has no usable address; the network file keeps the last one.",
        "No action needed while Windows is connecting; otherwise restart WSL with `wsl --shutdown`";
    GatewayRoute, "gateway-route", Warning,
        "Packets to the gateway leave by another interface than the node's, so what Windows forwards gets no answer.",
        "With a Tailscale exit node run `sudo tailscale set --exit-node-allow-lan-access`; else exempt the gateway's network in the VPN (AllowedIPs, or an `ip rule`)";
    ModeUnknown, "mode-unknown", Warning,
        "WSL's networking mode is unknown, so the agent changes nothing on Windows.",
        "Check that `wslinfo --networking-mode` answers; the agent retries";
    ModeFallback, "mode-fallback", Warning,
        "WSL runs in another networking mode than .wslconfig asks for: it was not restarted since, or it fell back.",
        "Run `wsl --shutdown` on Windows and see what WSL prints when it starts; where it keeps falling back, run `wslmesh wslconfig set networkingMode` with the mode in force";
    NetworkFileUnreadable, "network-file-unreadable", Error,
        "The network file cannot be read or parsed; the agent does not change it.",
        "Correct the file, or move it away so that the agent writes a new one; the agent retries";
    NetworkFileUnwritable, "network-file-unwritable", Error,
        "The network file could not be replaced; the old one is intact.",
        "Free disk space or correct the permissions of the directory";
    NetworkFileName, "network-file-name", Warning,
        "An interface name has characters that are unsafe in a file that shells read, so its key is unchanged.",
        "Use only letters, digits, _ . - and @ in the name of the interface";
    MtuUnderlaySmall, "mtu-underlay-small", Warning,
        "The MTU of the interface below the tunnel is too small for the tunnel's packets: large packets are dropped.",
        "Raise the MTU of the Windows adapter with the lowest MTU, or set [mtu] underlay = \"lower-tunnel\"";
    MtuIpv6Lost, "mtu-ipv6-lost", Warning,
        "The tunnel's MTU is below 1280, the minimum for IPv6.",
        "Raise the MTU of the interface below the tunnel, or use only IPv4 in this tunnel";
    MtuRefused, "mtu-refused", Warning,
        "The kernel rejected an MTU.",
        "Set [mtu] value within the limits of the interface (`ip -d link` shows maxmtu)";
    SysctlReserved, "sysctl-reserved", Warning,
        "In mirrored mode WSL owns this parameter; changing it breaks WSL's networking.",
        "Remove the key from [sysctl]";
    SysctlMissing, "sysctl-missing", Info,
        "This kernel or network namespace does not have the parameter.",
        "No action needed; or set the key to false in [sysctl]";
    SysctlRefused, "sysctl-refused", Warning,
        "A parameter could not be written, or reads back differently.",
        "Correct the value in [sysctl] (`sysctl KEY` shows the current one)";
    StateUnwritable, "state-unwritable", Warning,
        "Previous values could not be saved, so the agent changes nothing that it could not restore.",
        "Make the state directory writable (/var/lib/wslmesh, or $STATE_DIRECTORY)";
    StatusUnwritable, "status-unwritable", Warning,
        "The status document could not be written: what reads it has an old one or none.",
        "Free space in /run (`df /run`), or make the runtime directory writable (/run/wslmesh, or $RUNTIME_DIRECTORY)";
    MetricsUnwritable, "metrics-unwritable", Warning,
        "The file of [metrics] textfile could not be written: node_exporter shows old numbers or none.",
        "Do what the message says, or set [metrics] textfile to a file in another folder of root's (docs/metrics.md); a folder that was made after the start needs `systemctl restart wslmesh`. The agent tries again within a minute";
    WireguardUnreadable, "wireguard-unreadable", Warning,
        "A WireGuard device does not respond.",
        "Check `wg show`; restart the userspace daemon if it hangs";
    WireguardBusy, "wireguard-busy", Info,
        "wg-quick is bringing the device up or down; the agent waits.",
        "No action needed";
    WireguardRefused, "wireguard-refused", Warning,
        "Keepalives could not be set.",
        "Check `wg show`; the agent needs CAP_NET_ADMIN";
    WireguardMoved, "wireguard-moved", Error,
        "The device changed while its keepalives were being set; a device or peer that was being removed may exist again.",
        "Compare `wg show` with your configuration and remove what does not belong";
    WireguardPortRefused, "wireguard-port-refused", Warning,
        "Windows refused the UDP port of WireGuard in the kernel (mirrored and consomme mode): a program of Windows has it, or it is excluded there. Peers cannot start a session with this node.",
        "Set ListenPort in /etc/wireguard/NAME.conf to another port (in mirrored mode best one within `sysctl net.ipv4.ip_local_port_range`) and run `systemctl restart wg-quick@NAME`; or use a userspace WireGuard (wireguard-go); or free the port on Windows (`Get-NetUDPEndpoint -LocalPort PORT` shows the program) and run `systemctl reload wslmesh`";
    WireguardPortUnclaimed, "wireguard-port-unclaimed", Warning,
        "Windows could not be asked for the UDP port of WireGuard in the kernel (mirrored and consomme mode), so it may not pass the port on.",
        "Correct what the message says, then `systemctl reload wslmesh`; or use a userspace WireGuard (wireguard-go), whose port Windows sees by itself";
    EndpointUnresolved, "endpoint-unresolved", Warning,
        "A WireGuard peer does not answer, and its name does not resolve or leads nowhere from here: where it is now is unknown.",
        "Check the name (`getent ahosts NAME`) and name resolution (`wslmesh doctor dns`); if it is wrong, correct Endpoint in /etc/wireguard/NAME.conf and run `systemctl restart wg-quick@NAME`. The agent retries";
    ResumeIncomplete, "resume-incomplete", Warning,
        "After a sleep of Windows, or a time without a network, something does not work again although the agent did what it can.",
        "Follow the message; if that does not help, run `wsl.exe --shutdown` on Windows, which ends all distributions; the agent looks again by itself";
    ClockWrong, "clock-wrong", Warning,
        "The clock stays wrong by 5 s or more, and the agent does not set it: TLS certificates, logs and WireGuard's handshakes go by it.",
        "See `sudo wslmesh doctor clock`; run `wsl.exe --shutdown` on Windows, which ends all distributions, or let the agent set the clock (step-above in [clock], docs/clock.md)";
    Contested, "contested", Warning,
        "Another program keeps reverting this setting; the agent has paused its own changes to it.",
        "Configure the setting in one place only: here or in the other program";
    ForwardNotWsl, "forward-not-wsl", Info,
        "Forwards are configured, but this machine is not WSL.",
        "No action needed; or remove the [[forward]] entries";
    ForwardMode, "forward-mode", Warning,
        "Windows cannot forward in this networking mode.",
        "Follow the message, or run `wslmesh wslconfig set networkingMode nat`";
    ForwardIpv6, "forward-ipv6", Warning,
        "This distribution has IPv6 alone, and the forward is by IPv4.",
        "In NAT mode restart WSL with `wsl --shutdown`, or run `wslmesh wslconfig set networkingMode mirrored`; in other modes set listen-address = \"::\" for the forward";
    ForwardKept, "forward-kept", Warning,
        "In mirrored mode Windows keeps this port for itself and passes none of its traffic to a distribution.",
        "Choose another listen-port, and let clients use that one";
    ForwardNoHeader, "forward-no-header", Warning,
        "In this networking mode clients reach this forward's service itself, so nothing writes the PROXY header that it expects.",
        "Choose a listen-port other than connect-port, which the relay then serves; or remove proxy-protocol, here and in the service";
    ForwardLoop, "forward-loop", Warning,
        "In this networking mode the relay listens where this forward leads to, so a connection would come back to its beginning for ever. It is the last forward of the loop and not served; the others are.",
        "Set connect-port to the port of the service, or listen-port of one of the forwards to another port";
    ForwardChain, "forward-chain", Info,
        "In this networking mode the relay listens where this forward leads to, so its clients reach the service behind the other forward.",
        "No action needed if that is meant; otherwise give one of the forwards another listen-port, or set connect-port to the port of the service";
    ForwardNeedsRelay, "forward-needs-relay", Warning,
        "Only the relay can serve this forward, but the configuration allows only the port proxy.",
        "Set backend = \"auto\", or make it a TCP forward on an IPv4 address in NAT mode";
    ForwardFirewall, "forward-firewall", Info,
        "Windows' firewall is not opened for this forward: that needs an administrator's consent, once.",
        "Run `wslmesh host install`; or set firewall = \"none\" and allow the port in Windows' firewall yourself";
    ForwardDynamicRange, "forward-dynamic-range", Info,
        "The port is in the dynamic range that Windows reports for its protocol, so another program may take it first.",
        "No action needed while it works; otherwise choose a port outside of that range, or reserve this one in an elevated terminal: netsh int ipv4 add excludedportrange protocol=PROTOCOL startport=PORT numberofports=1";
    ForwardTaken, "forward-taken", Warning,
        "Another program on Windows uses the port.",
        "Stop or reconfigure that program, then `systemctl reload wslmesh`; or choose another listen-port";
    ForwardExcluded, "forward-excluded", Warning,
        "Windows reserves the port, or the program that uses it does not share it.",
        "Check `netsh int ipv4 show excludedportrange tcp` (or udp); if the port is listed, choose another listen-port. Hyper-V's ranges change when Windows restarts";
    ForwardNoAddress, "forward-no-address", Warning,
        "The address to listen on does not exist.",
        "Correct listen-address (`ipconfig` on Windows lists the addresses), or remove it to listen on all";
    ForwardNotListening, "forward-not-listening", Warning,
        "The relay could not listen, or Windows shows no listener where the relay says that it listens.",
        "Look up the error number in Windows' list of socket errors; without one, look for a security program that keeps the relay's port. The agent retries";
    ForwardTunnelDown, "forward-tunnel-down", Warning,
        "A forward has backend = \"tunnel\", and the tunnel to Windows is not up.",
        "Run `sudo wslmesh tunnel up`, or set [tunnel] when = \"always\"; or choose another backend for the forward";
    ForwardOutsidePolicy, "forward-outside-policy", Warning,
        "The policy approved on Windows does not cover this forward: its ports, its address, its firewall or its backend.",
        "Run `wslmesh host install` again and approve the new policy";
    DiscoveryLimit, "discovery-limit", Warning,
        "More ports listen in the ranges of [discovery] than become forwards; the others are left out.",
        "Narrow the ranges in [discovery], or write a [[forward]] for each port that must be there";
    DiscoveryBusy, "discovery-busy", Info,
        "Ports in the ranges of [discovery] open and close so often that their forwards follow late.",
        "Leave the ports of short-lived services out of the ranges in [discovery], or deny them";
    DiscoveryFailed, "discovery-failed", Warning,
        "The kernel does not say what listens, so no port is discovered; the forwards of those found before stay.",
        "Check that nothing denies the agent AF_NETLINK and that the kernel has inet_diag (CONFIG_INET_DIAG, CONFIG_INET_UDP_DIAG); the agent retries";
    FirewallBlocked, "firewall-blocked", Warning,
        "A Block rule of Windows' firewall overrides the rule that admits a forward's clients. Dismissing a firewall prompt creates such rules, and they outlive the program.",
        "Remove the rules named in the message: in wf.msc, Inbound Rules, or in an elevated PowerShell with `Remove-NetFirewallRule -DisplayName NAME`. Then `systemctl reload wslmesh`";
    FirewallProfile, "firewall-profile", Warning,
        "Windows is connected to a network whose profile wslmesh's firewall rules do not cover.",
        "Make the network Private in Windows' settings, or add the profile: `wslmesh host install --profiles`";
    FirewallFailed, "firewall-failed", Warning,
        "The rules in Windows' firewall are not as they should be, or may have no effect.",
        "Do what the message says; `wslmesh host install` makes the rules again. The agent looks again at the next change, or with `systemctl reload wslmesh`";
    HostTaskFailed, "host-task-failed", Warning,
        "The scheduled task that changes the port proxy on Windows could not be started.",
        "Run `wslmesh host check`; `wslmesh host install` creates the task again";
    HostTaskTimeout, "host-task-timeout", Warning,
        "The scheduled task that changes the port proxy on Windows did not answer in time.",
        "Run `wslmesh host check`; the agent retries";
    HostVersion, "host-version", Warning,
        "The installation on Windows is from another version of wslmesh.",
        "Run `wslmesh host install` again";
    GuestAddressUnknown, "guest-address-unknown", Warning,
        "The scheduled task on Windows cannot determine this distribution's address, so forwards by portproxy stay as they were.",
        "Restart WSL with `wsl --shutdown`; if that does not help, run `wslmesh host check`";
    GuestAddressDiffers, "guest-address-differs", Warning,
        "Windows has a different address for this distribution, and forwards lead there.",
        "Restart WSL with `wsl --shutdown`; or check that [network] interface names the interface towards Windows";
    RelayLoopback, "relay-loopback", Warning,
        "The relay is not installed on Windows, so it listens on 127.0.0.1 only: other machines cannot reach the forward.",
        "Run `wslmesh host install`";
    RelayMissing, "relay-missing", Warning,
        "The relay's program is missing.",
        "Reinstall the wslmesh package, then `systemctl reload wslmesh`";
    RelayFailed, "relay-failed", Warning,
        "The relay is not running, so its forwards are down.",
        "The message has the reason; the agent restarts the relay. Where Windows does not start it, run `wslmesh host install`: it finds out, and has the port proxy serve TCP if a policy forbids the relay";
    RelayRestarted, "relay-restarted", Info,
        "The relay exited and was restarted with its table of UDP clients.",
        "No action needed; if it happens repeatedly, look for an antivirus that ends the relay, or report it";
    RelayElevated, "relay-elevated", Warning,
        "WSL was started by an elevated program (any distribution), and the relay does not run with administrator rights because it handles input from the network.",
        "Run `wsl --shutdown`, then start WSL from an ordinary terminal before any elevated program does";
    RelayLimit, "relay-limit", Warning,
        "The relay rejected clients because it reached its limit.",
        "Look for a flood of connections to the port in the message; idle ones time out";
    RelayNeedsAgent, "relay-needs-agent", Info,
        "The relay runs only while the agent does, and the agent is not running.",
        "Run `systemctl start wslmesh`";
    ForwardNotElevated, "forward-not-elevated", Warning,
        "The port proxy must change. The Windows user of this distribution may not do that, and nothing is installed on Windows that may.",
        "Run `wslmesh host install`; or run `wsl --shutdown` and start WSL from an elevated terminal before anything else does";
    ForwardLeftover, "forward-leftover", Info,
        "Rules made by the agent are still on Windows, and nothing maintains or removes them now.",
        "To remove them, run `systemctl stop wslmesh` and `wslmesh restore`; or set [host] backend = \"auto\" and remove the [[forward]] entries";
    ForwardConflict, "forward-conflict", Warning,
        "A rule of another program on Windows already forwards this port; the agent did not change it.",
        "Remove the rule on Windows (`netsh interface portproxy show v4tov4` lists it), then `systemctl reload wslmesh`; or choose another listen-port";
    ForwardService, "forward-service", Warning,
        "Windows' IP Helper service (iphlpsvc) is not running, so no forward works.",
        "Start it in an elevated PowerShell: Set-Service iphlpsvc -StartupType Automatic; Start-Service iphlpsvc";
    ForwardIncomplete, "forward-incomplete", Warning,
        "Windows' forwarding rules read back differently than they were written.",
        "Look for another tool that writes portproxy rules; the agent retries";
    ForwardFailed, "forward-failed", Warning,
        "Windows rejected the change, or it failed.",
        "The message has Windows' error; the agent retries";
    InteropMissing, "interop-missing", Warning,
        "Windows cannot be called from this distribution: no interop socket, or interop is disabled.",
        "Run `sudo wslmesh wslconf set interop.enabled true` and restart WSL with `wsl --shutdown`";
    InteropPowershell, "interop-powershell", Warning,
        "powershell.exe was not found on a mounted Windows drive.",
        "Run `sudo wslmesh wslconf set automount.enabled true` and restart WSL with `wsl --shutdown`";
    InteropDead, "interop-dead", Warning,
        "WSL's channel to Windows is dead: its socket takes calls, and no program starts. It does not come back by itself.",
        "Run `wsl --terminate NAME` on Windows (`wsl --list` shows the names) and start the distribution again; the agent retries, by an open terminal's channel where there is one";
    InteropScript, "interop-script", Warning,
        "Windows PowerShell did not run the agent's script.",
        "If the message names a policy or a language mode, the administrator of the Windows machine decides whether this Windows user may run PowerShell scripts. Otherwise the message has PowerShell's reason; try `powershell.exe -NoProfile -Command 1` in a terminal";
    DriveDenied, "drive-denied", Warning,
        "The mount of a Windows drive does not let root do what the agent needs: its files belong to the default user.",
        "Run `wslmesh host install`, after which the agent writes to no drive; or take umask=, dmask= and fmask= out of [automount] options in /etc/wsl.conf and run `wsl --shutdown`. Drives outside of /mnt need the drop-in automount-root.service.conf (docs/hardening.md)";
    InteropTimeout, "interop-timeout", Warning,
        "Windows did not answer in time; the call was cancelled.",
        "Try `powershell.exe -Command 1` in a terminal; if it also hangs, restart WSL with `wsl --shutdown`";
    InteropFailed, "interop-failed", Warning,
        "powershell.exe could not be started, or exited with an error.",
        "Try `powershell.exe -Command 1` in a terminal; the agent retries";
    InteropOutput, "interop-output", Warning,
        "The answer from Windows cannot be parsed.",
        "Look for an antivirus or a PowerShell profile that prints into the output; the agent retries";
    Standby, "standby", Info,
        "Another agent leads in this network namespace (all distributions share one); this one is on standby.",
        "No action needed";
    LeaderOutdated, "leader-outdated", Warning,
        "A process holds the leader-election socket of version 0.1.0, whose agents cannot be asked. One of this distribution leads, and this agent is on standby; beside one of another distribution or of a container it works, and the two may undo each other's rules on Windows.",
        "Upgrade wslmesh in the other distributions (`wsl --list --running`); where none has version 0.1.0, stop the process that holds @wslmesh/agent (`sudo ss -xlp` in each)";
    ForwardOwned, "forward-owned", Warning,
        "Another distribution has the port of this forward: of all distributions the first configured one gets a port.",
        "Choose another listen-port in one of the two distributions, then `systemctl reload wslmesh` there";
    ForwardUnserved, "forward-unserved", Warning,
        "The agent that leads, in another distribution, does not serve this forward.",
        "Run `wslmesh status` in the leader's distribution: it shows the reason and the fix";
    ForwardsRefused, "forwards-refused", Warning,
        "The agent that leads, in another distribution, does not take the forwards of this one.",
        "Do what the message says, then `systemctl reload wslmesh`";
    LeaderVersion, "leader-version", Warning,
        "The agent that leads, in another distribution, is of a version that cannot serve the forwards of this one.",
        "Upgrade wslmesh in the distribution named in the message, then restart its agent: systemctl restart wslmesh";
    LeaderSilent, "leader-silent", Warning,
        "The agent that leads, in another distribution, does not answer, and has not ended.",
        "Run `systemctl restart wslmesh` in the leader's distribution (`wsl --list --running` shows them)";
    LeaderUntrusted, "leader-untrusted", Info,
        "A process that is no agent of root holds a leader-election socket; the agent ignores it.",
        "Find out why it does (`sudo ss -xlp` shows @wslmesh/agent and the process) and stop it";
    ConfigRejected, "config-rejected", Warning,
        "The new configuration has errors; the previous one stays in effect.",
        "Correct it (`wslmesh config check`), then `systemctl reload wslmesh`";
    ObserveFailed, "observe-failed", Error,
        "The kernel's network state could not be read.",
        "Check that nothing denies the agent AF_NETLINK; the agent retries";
    DependentMissing, "dependent-missing", Warning,
        "A unit to notify of address changes does not exist or is masked.",
        "Correct its name in [dependents] units (`systemctl list-units` lists them) or unmask it (`systemctl unmask UNIT`), then `systemctl reload wslmesh`";
    DependentFailed, "dependent-failed", Warning,
        "A unit could not be notified of the new address.",
        "See `systemctl status UNIT` and `journalctl -u UNIT`; correct the cause, `systemctl restart UNIT`, then `systemctl reload wslmesh`";
    HookFailed, "hook-failed", Warning,
        "A hook failed or timed out.",
        "See `journalctl -t wslmesh-hook`; correct the hook, then `systemctl reload wslmesh`. It runs again at the next change";
    HookRefused, "hook-refused", Warning,
        "A hook is not run, because a user other than root could have written it, or because its name or file type is not valid for a hook.",
        "Correct what the message says in brackets, or remove the file; then `systemctl reload wslmesh`";
    ResolvConfBroken, "resolv-conf-broken", Warning,
        "/etc/resolv.conf names no server, so no name resolves.",
        "Run `sudo wslmesh doctor dns --fix`: it links the file to WSL's where that is certain, and says what to do otherwise";
    DnsTunnelDead, "dns-tunnel-dead", Warning,
        "The server of WSL's DNS tunnelling does not work, so no name resolves. Nothing in the distribution starts it again.",
        "Run `wsl.exe --shutdown` on Windows once its own names resolve. Keep DNS tunnelling on: a public server knows no name of yours";
    DnsUnanswered, "dns-unanswered", Warning,
        "The first server of /etc/resolv.conf does not resolve names.",
        "Run `wslmesh doctor dns`: it names the owner of the file and the fix";
    ResolvedDown, "resolved-down", Warning,
        "/etc/resolv.conf names systemd-resolved, which does not run.",
        "Run `sudo systemctl enable --now systemd-resolved`; see `journalctl -u systemd-resolved` where it fails";
    ZoneUnreached, "zone-unreached", Warning,
        "No tunnel leads to the servers of a zone in [dns] zones, so its names do not resolve.",
        "Bring the tunnel up, and have its routes (AllowedIPs) include the server; or correct the server in [dns] zones";
    ZoneConflict, "zone-conflict", Warning,
        "Two zones of one tunnel have different servers, and a tunnel has one list of servers for all its names; this zone is left out.",
        "Give both zones the same servers in [dns] zones, which then have to resolve both";
    ZoneNoResolved, "zone-no-resolved", Warning,
        "Zones need systemd-resolved, which does not answer on D-Bus.",
        "Run `sudo apt install systemd-resolved libnss-resolve` (Fedora has both), then `sudo systemctl enable --now systemd-resolved` and `sudo systemctl reload wslmesh`. WSL's /etc/resolv.conf may stay";
    ZoneUnused, "zone-unused", Warning,
        "Programs do not ask systemd-resolved, so they do not resolve the names of zones.",
        "Run `sudo apt install libnss-resolve`, which makes it the first to be asked (`resolve` in the line hosts: of /etc/nsswitch.conf), then `sudo systemctl reload wslmesh`";
    ZoneTaken, "zone-taken", Warning,
        "Another program sets the name servers of the tunnel, and the agent does not change them.",
        "Let one program do it: leave DNS= out of the tunnel's configuration (wg-quick, networkd; `tailscale set --accept-dns=false`), or the zone out of [dns] zones. Then `sudo systemctl reload wslmesh`";
    ZoneFailed, "zone-failed", Warning,
        "The servers of a zone are set, and its names do not resolve; or systemd-resolved refuses them.",
        "Check that the server answers (`resolvectl query ZONE`, `resolvectl status`), and that a peer's AllowedIPs and firewall let it; the agent retries";
    KeepAliveFailed, "keep-alive-failed", Warning,
        "[lifetime] keep-alive is on, and this distribution is not held open: WSL may stop it once its last terminal closes.",
        "Run `wslmesh doctor interop`; the agent retries, at once after `systemctl reload wslmesh`. Without a process on Windows `wslmesh wslconfig set general.instanceIdleTimeout -1` keeps it running, from the next `wsl.exe --shutdown` on";
    NatBroken, "nat-broken", Warning,
        "Windows' NAT lets nothing through: neither the gateway nor a name server behind it answers. It is looked at where [tunnel] when = \"nat-broken\" asks for it.",
        "No action needed while the tunnel carries the network; disconnect the VPN on Windows, or run `wsl.exe --shutdown` there, to have NAT back. Forwards by the port proxy do not work meanwhile";
    TunnelUp, "tunnel-up", Info,
        "The network leads through the tunnel to a program on Windows, and not through Windows' NAT.",
        "No action needed. `wslmesh tunnel status` has the details; `sudo wslmesh tunnel down` ends it";
    TunnelFailed, "tunnel-failed", Warning,
        "The tunnel to Windows is wanted, and is not up.",
        "Run `wslmesh doctor tunnel` and `journalctl -u wslmesh-tunnel`; the agent retries, at once after `sudo systemctl reload wslmesh`";
    TunnelVersion, "tunnel-version", Warning,
        "The program on Windows at the other end of the tunnel is of another version.",
        "Run `sudo wslmesh host install` where it is installed on Windows; the packages of the distribution must be of one version (`wslmesh --version`)";
    TunnelNoSystemd, "tunnel-no-systemd", Warning,
        "The tunnel to Windows is wanted, and systemd, which starts it, does not answer on D-Bus.",
        "Run `sudo wslmesh wslconf set boot.systemd true`, then `wsl.exe --shutdown` on Windows; the agent retries";
    BusTaken, "bus-taken", Warning,
        "Another program owns the agent's name on the system bus and answers its callers.",
        "Stop the process named in the message; the agent then takes the name";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
