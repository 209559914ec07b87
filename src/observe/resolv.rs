//! The name server of this distribution.

use std::{net::IpAddr, path::Path};

use crate::fs::read_bounded;

/// Most bytes that are read; glibc takes three servers.
const MOST: usize = 1 << 16;

/// First name server of /etc/resolv.conf. With DNS tunnelling this is
/// 10.255.255.254, which is not the Windows host.
pub(super) fn first_server() -> Option<IpAddr> {
    let bytes = read_bounded(Path::new("/etc/resolv.conf"), MOST).ok()?;
    name_servers(&String::from_utf8_lossy(&bytes)).next()
}

/// The servers of a resolv.conf(5), in order: the keyword at the start of the line, an
/// IPv6 address perhaps with a zone, which is left out.
pub fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| {
            let word = rest.split_whitespace().next()?;
            word.split('%').next()?.parse().ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_server() {
        let table = [
            (
                "# made by WSL\nnameserver 10.255.255.254\nsearch lan\nnameserver 1.1.1.1\n",
                Some("10.255.255.254"),
            ),
            ("nameserver\tfe80::1%eth0\r\n", Some("fe80::1")),
            (
                "#nameserver 1.1.1.1\nnameservers 2.2.2.2\nnameserver bad\nnameserver 3.3.3.3",
                Some("3.3.3.3"),
            ),
            ("", None),
            ("nameserver", None),
        ];
        for (text, server) in table {
            assert_eq!(
                name_servers(text).next(),
                server.map(|ip| ip.parse().unwrap()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn servers_in_order() {
        let text = "# nameserver 9.9.9.9\nnameserver\t10.255.255.254\r\nnameservers 1.1.1.1\n nameserver 2.2.2.2\nnameserver fe80::1%eth0\nnameserver x\nsearch lan\n";
        let found: Vec<String> = name_servers(text).map(|ip| ip.to_string()).collect();
        assert_eq!(found, ["10.255.255.254", "fe80::1"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(nameserver[ \t]?)?\\PC{0,60}\n?", rest in "\\PC{0,60}") {
            let text = format!("{text}{rest}");
            proptest::prop_assert!(name_servers(&text).count() <= text.lines().count());
        }
    }
}
