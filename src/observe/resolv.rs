//! The name server of this distribution.

use std::{net::IpAddr, path::Path};

use crate::fs::read_bounded;

/// Most bytes that are read; glibc takes three servers.
const MOST: usize = 1 << 16;

/// First name server of /etc/resolv.conf. With DNS tunnelling this is
/// 10.255.255.254, which is not the Windows host.
pub(super) fn first_server() -> Option<IpAddr> {
    let bytes = read_bounded(Path::new("/etc/resolv.conf"), MOST).ok()?;
    parse(&String::from_utf8_lossy(&bytes))
}

/// As resolv.conf(5) has it: the keyword at the start of the line, an IPv6
/// address perhaps with a zone.
fn parse(text: &str) -> Option<IpAddr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .find_map(|rest| {
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
                parse(text),
                server.map(|ip| ip.parse().unwrap()),
                "{text:?}"
            );
        }
    }
}
