//! resolv.conf(5).

use std::net::IpAddr;

/// Its servers, in order; an IPv6 zone is left out.
pub(super) fn servers(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with([' ', '\t']))
        .filter_map(|rest| {
            let word = rest.split_whitespace().next()?;
            word.split('%').next()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_in_order() {
        let text = "# nameserver 9.9.9.9\nnameserver\t10.255.255.254\r\nnameservers 1.1.1.1\n nameserver 2.2.2.2\nnameserver fe80::1%eth0\nnameserver x\nsearch lan\n";
        let found: Vec<String> = servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.255.255.254", "fe80::1"]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(nameserver[ \t]?)?\\PC{0,60}\n?", rest in "\\PC{0,60}") {
            let text = format!("{text}{rest}");
            proptest::prop_assert!(servers(&text).len() <= text.lines().count());
        }
    }
}
