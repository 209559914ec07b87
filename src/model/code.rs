//! The registry of health codes.
//!
//! One table holds what status, the journal and the documentation say of each:
//! a new code is one line in `registry!` and nothing else.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

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

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! registry {
    ($($variant:ident, $name:literal, $severity:ident, $text:literal, $remediation:literal;)*) => {
        /// A kind of trouble, stable across versions.
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
        "Nothing to do while Windows is connecting; otherwise name the interface in [network] interface (`ip route` lists them)";
    NoAddress, "no-address", Error,
        "The watched interface has no IPv4 address; the network file keeps its last one.",
        "Nothing to do while Windows is connecting; otherwise restart WSL with `wsl --shutdown`";
    ModeUnknown, "mode-unknown", Warning,
        "WSL did not say its networking mode, so nothing on Windows is touched.",
        "Check that `wslinfo --networking-mode` answers; the agent asks again by itself";
    NetworkFileUnreadable, "network-file-unreadable", Error,
        "The network file cannot be read or understood and is left alone.",
        "Correct the file, or move it away and let the agent write a new one; it looks again by itself";
    NetworkFileUnwritable, "network-file-unwritable", Error,
        "The network file could not be replaced; the old one is still whole.",
        "Free space or correct the permissions of the directory";
    NetworkFileName, "network-file-name", Warning,
        "An interface's name has characters that are not safe in a file that shells read, so its key is left as it was.",
        "Rename the interface to letters, digits, _ . - and @";
    MtuUnderlaySmall, "mtu-underlay-small", Warning,
        "The interface below the tunnel cannot carry the tunnel's packets: large packets vanish.",
        "Raise the MTU of the Windows adapter that is the lowest, or set [mtu] underlay = \"lower-tunnel\"";
    MtuIpv6Lost, "mtu-ipv6-lost", Warning,
        "The tunnel's MTU is below 1280, the least that IPv6 works with.",
        "Raise the MTU of the interface below, or use IPv4 in this tunnel";
    MtuRefused, "mtu-refused", Warning,
        "The kernel refused an MTU.",
        "Set [mtu] value to what the interface allows (`ip -d link` shows maxmtu)";
    SysctlReserved, "sysctl-reserved", Warning,
        "In mirrored mode WSL owns this parameter, and changing it breaks its network.",
        "Remove the key from [sysctl]";
    SysctlMissing, "sysctl-missing", Info,
        "This kernel or network namespace does not offer the parameter.",
        "Nothing to do; or set the key to false in [sysctl]";
    SysctlRefused, "sysctl-refused", Warning,
        "A parameter could not be written, or reads back as something else.",
        "Correct the value in [sysctl] (`sysctl KEY` shows the one in force)";
    StateUnwritable, "state-unwritable", Warning,
        "Previous values could not be saved, so nothing was changed that could not be undone.",
        "Make the state directory writable (/var/lib/wslmesh, or $STATE_DIRECTORY)";
    WireguardUnreadable, "wireguard-unreadable", Warning,
        "A WireGuard device does not answer.",
        "Check `wg show`; restart the userspace daemon if it hangs";
    WireguardBusy, "wireguard-busy", Info,
        "wg-quick is setting the device up or taking it down; the agent waits.",
        "Nothing to do";
    WireguardRefused, "wireguard-refused", Warning,
        "Keepalives could not be set.",
        "Check `wg show`; the agent needs CAP_NET_ADMIN";
    WireguardMoved, "wireguard-moved", Error,
        "The device changed while its keepalives were being set; a device or peer that was being removed may have come back.",
        "Compare `wg show` with your configuration and remove what does not belong";
    Contested, "contested", Warning,
        "Somebody else keeps changing this back; the agent has stepped aside for a while.",
        "Decide who owns the setting: remove it here or there";
    ForwardNotWsl, "forward-not-wsl", Info,
        "This machine is not WSL: forwards are configured and there is no Windows to make them.",
        "Nothing to do; or remove the [[forward]] entries";
    ForwardMode, "forward-mode", Warning,
        "In this networking mode Windows has nothing to forward.",
        "Do what the line above names, or set networkingMode=nat in %UserProfile%\\.wslconfig";
    ForwardNeedsRelay, "forward-needs-relay", Warning,
        "Only the relay can serve this forward, and the configuration allows the port proxy alone.",
        "Set [host] backend = \"auto\", or make it a TCP forward in NAT mode";
    ForwardFirewall, "forward-firewall", Info,
        "Nobody opens Windows' firewall for this forward: that takes an administrator's consent, given once.",
        "Run `wslmesh host install`; or set firewall = \"none\" and allow the port in Windows' firewall by hand";
    ForwardDynamicRange, "forward-dynamic-range", Info,
        "The port lies in the range from which Windows hands out ports by itself (49152 to 65535), so another program may have it first.",
        "Nothing to do while it works; to be safe choose a port below 49152, or keep this one free in an elevated terminal: netsh int ipv4 add excludedportrange protocol=udp startport=PORT numberofports=1";
    ForwardTaken, "forward-taken", Warning,
        "Another program on Windows has the port.",
        "End or reconfigure that program and then `systemctl reload wslmesh`, or choose another listen-port";
    ForwardExcluded, "forward-excluded", Warning,
        "Windows keeps the port for itself, or the program that has it does not share it.",
        "Look for it in `netsh int ipv4 show excludedportrange tcp` (or udp); Hyper-V's ranges change with a restart of Windows. Choose another listen-port if it is there";
    ForwardNoAddress, "forward-no-address", Warning,
        "There is no such address to listen on.",
        "Correct listen-address (`ipconfig` on Windows lists the addresses), or leave it out to listen on all";
    ForwardNotListening, "forward-not-listening", Warning,
        "The relay could not listen.",
        "Look the error's number up in Windows' list of socket errors; the agent tries again by itself";
    ForwardOutsidePolicy, "forward-outside-policy", Warning,
        "What was agreed to at the installation on Windows does not cover this forward.",
        "Run `wslmesh host install` again and agree to the new policy";
    FirewallBlocked, "firewall-blocked", Warning,
        "A Block rule of Windows' firewall beats the rule that lets a forward's clients in. Closing a firewall alert makes such rules.",
        "Remove the rule that the line above names (wf.msc, Inbound Rules), then `systemctl reload wslmesh`";
    FirewallProfile, "firewall-profile", Warning,
        "Windows is in a network of a kind that our firewall rules do not hold in.",
        "Make the network Private in Windows' settings, or agree to that profile too: `wslmesh host install --profiles`";
    FirewallFailed, "firewall-failed", Warning,
        "The firewall's rules could not be made.",
        "The line above has Windows' own words; the agent tries again with the next change, or with `systemctl reload wslmesh`";
    HostTaskFailed, "host-task-failed", Warning,
        "The task that changes forwards on Windows could not be started.",
        "Run `wslmesh host check`; `wslmesh host install` makes the task anew";
    HostTaskTimeout, "host-task-timeout", Warning,
        "The task that changes forwards on Windows gave no answer in time.",
        "Run `wslmesh host check`; the agent tries again by itself";
    HostVersion, "host-version", Warning,
        "What is installed on Windows belongs to another version of wslmesh.",
        "Run `wslmesh host install` again";
    GuestAddressUnknown, "guest-address-unknown", Warning,
        "The task on Windows cannot tell this distribution's address, so it changed nothing.",
        "Restart WSL with `wsl --shutdown`; if that does not help, run `wslmesh host check`";
    GuestAddressDiffers, "guest-address-differs", Warning,
        "Windows takes another address for this distribution's than it has: forwards lead there.",
        "Restart WSL with `wsl --shutdown`; or check that [network] interface names the interface towards Windows";
    RelayLoopback, "relay-loopback", Warning,
        "The relay is not installed on Windows, so it listens on 127.0.0.1 only: nobody else in the network reaches the forward.",
        "Run `wslmesh host install`";
    RelayMissing, "relay-missing", Warning,
        "The relay's program is not there.",
        "Install the wslmesh package again; then `systemctl reload wslmesh`";
    RelayFailed, "relay-failed", Warning,
        "The relay does not run, so what it should forward is not forwarded.",
        "The line above says why; the agent starts it again by itself";
    RelayRestarted, "relay-restarted", Info,
        "The relay ended and was started again; it got its table of UDP clients back.",
        "Nothing to do; if it comes again and again, look for an antivirus that ends it, or report it";
    RelayElevated, "relay-elevated", Warning,
        "This distribution was started from an elevated terminal, and the relay refuses administrator rights: it takes what the network sends.",
        "Close all windows of WSL, run `wsl --shutdown`, and start the distribution from an ordinary terminal";
    RelayLimit, "relay-limit", Warning,
        "The relay turned clients away, because it serves as many as it may.",
        "Look for a flood of connections to the port in the line above; those that are idle end by themselves";
    RelayNeedsAgent, "relay-needs-agent", Info,
        "The relay runs as long as the agent does, and no agent runs now.",
        "Start it: systemctl start wslmesh";
    ForwardNotElevated, "forward-not-elevated", Warning,
        "The Windows user behind this distribution may not change port forwards, and nothing is installed on Windows that may.",
        "Run `wslmesh host install`; or start the distribution from an elevated terminal, then `systemctl reload wslmesh`";
    ForwardStanding, "forward-standing", Info,
        "Rules that the agent made earlier still stand on Windows, and now nothing keeps or removes them.",
        "To withdraw them: systemctl stop wslmesh; wslmesh restore. Or set [host] backend = \"auto\" and remove the [[forward]] entries";
    ForwardConflict, "forward-conflict", Warning,
        "Windows already forwards this port for somebody else; that rule was not touched.",
        "Remove it on Windows (netsh interface portproxy show v4tov4) and then `systemctl reload wslmesh`, or choose another listen-port";
    ForwardService, "forward-service", Warning,
        "Windows' IP Helper service (iphlpsvc) is not running, so no forward works.",
        "Start it in an elevated PowerShell: Set-Service iphlpsvc -StartupType Automatic; Start-Service iphlpsvc";
    ForwardIncomplete, "forward-incomplete", Warning,
        "Windows' forwards read back as something else than was written.",
        "The agent tries again by itself; look for another tool that writes portproxy rules";
    ForwardFailed, "forward-failed", Warning,
        "Windows refused or failed the call.",
        "The line above has Windows' own words; the agent tries again by itself";
    InteropMissing, "interop-missing", Warning,
        "There is no way from here to Windows: no interop socket, or interop is switched off.",
        "Set [interop] enabled=true in /etc/wsl.conf and restart WSL with `wsl --shutdown`";
    InteropPowershell, "interop-powershell", Warning,
        "powershell.exe was not found on a mounted Windows drive.",
        "Set [automount] enabled=true in /etc/wsl.conf and restart WSL with `wsl --shutdown`";
    InteropTimeout, "interop-timeout", Warning,
        "Windows did not answer in time; the call was ended.",
        "Try `powershell.exe -Command 1` in a terminal; if it hangs too, restart WSL with `wsl --shutdown`";
    InteropFailed, "interop-failed", Warning,
        "powershell.exe could not be run or ended with an error.",
        "Try `powershell.exe -Command 1` in a terminal; the agent tries again by itself";
    InteropOutput, "interop-output", Warning,
        "The answer from Windows is not one that the agent can use.",
        "Look for an antivirus or a profile that prints into PowerShell's output; the agent tries again by itself";
    Standby, "standby", Info,
        "Another agent works in this network namespace (all distributions share one); this one stands by.",
        "Nothing to do";
    LeaderStranger, "leader-stranger", Error,
        "Somebody who is no agent of root has taken the socket by which agents elect one of them; this one stands by.",
        "Find the process (`ss -xlp` shows @wslmesh/agent) and end it; the agent goes on by itself";
    ConfigRejected, "config-rejected", Warning,
        "The new configuration has errors; the old one stays in force.",
        "Correct it (`wslmesh config check`), then `systemctl reload wslmesh`";
    ObserveFailed, "observe-failed", Error,
        "The kernel's network state could not be read.",
        "The agent tries again by itself; it needs AF_NETLINK";
    DependentMissing, "dependent-missing", Warning,
        "A unit that should be told of a new address is not there, or is masked.",
        "Correct its name in [dependents] units (`systemctl list-units` has them), or unmask it (`systemctl unmask UNIT`), then `systemctl reload wslmesh`";
    DependentFailed, "dependent-failed", Warning,
        "A unit could not be told of the new address.",
        "`systemctl status UNIT` and `journalctl -u UNIT` say why; correct that, `systemctl restart UNIT`, and then `systemctl reload wslmesh`, which looks again";
    HookFailed, "hook-failed", Warning,
        "A hook did not end well, or not in its time.",
        "`journalctl -t wslmesh-hook` has what it printed; correct it, then `systemctl reload wslmesh`. It runs again at the next change";
    HookRefused, "hook-refused", Warning,
        "A hook is not run, because somebody else than root could have put it there, or because its name or kind is none for a hook.",
        "Do what the line above says in brackets, or remove the file; then `systemctl reload wslmesh`";
    BusTaken, "bus-taken", Warning,
        "Another program has the agent's name on the system bus, so those who ask for the agent there get its answers.",
        "End the process that the line above names; the agent takes the name by itself";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            assert!(
                name.chars()
                    .all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()),
                "{name}"
            );
        }
    }

    #[test]
    fn every_code_says_what_and_what_to_do() {
        for code in Code::ALL {
            assert!(code.text().ends_with('.'), "{code}: text is a sentence");
            assert!(
                !code.remediation().is_empty() && !code.remediation().ends_with('.'),
                "{code}: fix is set before a dot by its users"
            );
        }
    }
}
