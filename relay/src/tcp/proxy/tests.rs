use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of(client: &str, at: &str) -> String {
    hex(&header(client.parse().unwrap(), at.parse().unwrap()))
}

/// Byte for byte as section 2.2 of the specification has them: signature, version and
/// command, family and protocol, length, source and destination address, both ports.
#[test]
fn the_bytes_are_those_of_the_specification() {
    let signature = "0d0a0d0a000d0a515549540a";
    assert_eq!(
        of("192.168.50.20:40000", "192.168.50.10:8443"),
        format!("{signature}2111000cc0a83214c0a8320a9c4020fb")
    );
    assert_eq!(
        of("[2001:db8::20]:1", "[2001:db8::10]:65535"),
        format!(
            "{signature}21210024\
             20010db800000000000000000000002020010db80000000000000000000000100001ffff"
        )
    );
    // A client of IPv4 that came to a listener of both is one of IPv4.
    assert_eq!(
        of(
            "[::ffff:192.168.50.20]:40000",
            "[::ffff:192.168.50.10]:8443"
        ),
        of("192.168.50.20:40000", "192.168.50.10:8443")
    );
}
