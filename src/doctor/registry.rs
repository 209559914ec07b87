//! The registry of checks: what each is called, why it is made, what to do when
//! it fails, and what makes it. A new check is one entry in `registry!` and the
//! function that it names.

use std::fmt;

use super::{
    checks::{address, mtu, sysctls, system},
    facts::Facts,
    verdict::Verdict,
};

/// What `--fix` may do about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fix {
    /// Nothing: the change is somebody else's to make, and is named as the cure.
    None,
    /// One pass of the agent, which changes what the configuration asks for.
    Pass,
    /// Owner, mode and existence of wslmesh's own files and folders.
    Files,
}

macro_rules! registry {
    ($($group:ident $word:literal {
        $($check:ident $id:literal $title:literal $run:path, $fix:ident, $why:literal, $cure:literal;)*
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
            pub fn cure(self) -> &'static str {
                match self { $($(Self::$check => $cure,)*)* }
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
            "WSL 1 has no network of its own to keep, and some cures need a later WSL 2.",
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
            "WSL skips what it does not know and takes the first of two equal keys, without a word to anybody.",
            "Correct the lines that are named in /etc/wsl.conf; `man wslmesh` names no key of that file: https://learn.microsoft.com/windows/wsl/wsl-config does";
        Configuration "configuration" "wslmesh's configuration is right" system::configuration, None,
            "A configuration with an error is refused as a whole.",
            "Correct it; `wslmesh config check` names file, line and cure";
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
            "`wslmesh status` has each trouble with its cure";
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
            "Start the agent (`sudo systemctl start wslmesh`), or make one pass with `sudo wslmesh apply`";
        OldListeners "old-listeners" "no service listens on an address of the past" address::listeners, None,
            "A service bound to the address that this distribution had is reachable by nobody after a change.",
            "Let the service listen on 0.0.0.0 (ListenAddress 0.0.0.0 in sshd_config), or restart it with each change of the address";
    }
    Mtu "mtu" {
        TunnelMtu "tunnel-mtu" "tunnels have the configured MTU" mtu::tunnels, Pass,
            "Packets of a tunnel that are too large for its way are fragmented or vanish.",
            "Start the agent (`sudo systemctl start wslmesh`), or make one pass with `sudo wslmesh apply`";
        UnderlayMtu "underlay-mtu" "the interface below carries the tunnels" mtu::underlay, Pass,
            "A tunnel of 1280 bytes needs 1340 below it (1360 over IPv6). WSL gives eth0 the lowest MTU of all Windows adapters, 1280 where Tailscale runs on Windows: then full packets vanish.",
            "Start the agent, which raises it where [mtu] underlay allows it; else raise the MTU of the Windows adapter that is the lowest";
        MtuProbing "mtu-probing" "TCP finds out what a path carries" mtu::probing, None,
            "Where a firewall swallows the messages about packets that are too large, a TCP connection through the tunnel hangs once it has much to say.",
            "Set \"net.ipv4.tcp_mtu_probing\" = 1 in the section [sysctl] of /etc/wslmesh/wslmesh.toml, then `sudo systemctl reload wslmesh`";
    }
    Sysctls "sysctls" {
        SysctlValues "sysctl-values" "kernel parameters are as configured" sysctls::values, Pass,
            "Buffers for fast transfers, and keepalives that notice a dead connection within two minutes. tcp_* is for what runs through a tunnel; the tunnel itself is UDP.",
            "Start the agent (`sudo systemctl start wslmesh`), or make one pass with `sudo wslmesh apply`";
        SysctlAllowed "sysctl-allowed" "every configured parameter can be set" sysctls::allowed, None,
            "WSL owns some parameters in mirrored mode, and some belong to the whole virtual machine.",
            "Remove the key from [sysctl], or set it to false there";
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
            let (id, why, cure) = (check.id(), check.why(), check.cure());
            assert!(why.ends_with('.'), "{id}: why is a sentence");
            assert!(!cure.is_empty() && !cure.ends_with('.'), "{id}: cure");
            // Beside the grade there is room for this much.
            assert!(
                check.title().chars().count() <= 60,
                "{id}: {}",
                check.title()
            );
        }
    }
}
