use netlink_packet_route::address::AddressMessage;
use rtnetlink::packet_core::{DoneMessage, ErrorMessage, NLM_F_MULTIPART};

use super::*;

fn message(payload: NetlinkPayload<RouteNetlinkMessage>, flags: u16) -> Vec<u8> {
    let header = rtnetlink::packet_core::NetlinkHeader::default();
    encoded(
        NetlinkMessage::new(header, payload),
        flags | NLM_F_MULTIPART,
    )
}

fn link(name: &str, flags: u16) -> Vec<u8> {
    let mut link = LinkMessage::default();
    let name = LinkAttribute::IfName(name.to_owned());
    link.attributes.push(name);
    let link = RouteNetlinkMessage::NewLink(link);
    message(NetlinkPayload::InnerMessage(link), flags)
}

fn done(code: i32, flags: u16) -> Vec<u8> {
    let mut done = DoneMessage::default();
    done.code = code;
    message(NetlinkPayload::Done(done), flags)
}

/// The names of the links, whether the table is consistent, and whether this is the end.
fn decoded(datagram: &[u8]) -> io::Result<(Vec<String>, bool, bool)> {
    let (mut names, mut consistent) = (Vec::new(), true);
    let mut take = |entry| {
        if let RouteNetlinkMessage::NewLink(link) = entry {
            names.extend(name_of(&link).map(str::to_owned));
        }
    };
    let end = decode(datagram, &mut consistent, &mut take)?;
    Ok((names, consistent, end))
}

#[test]
fn entries_of_a_datagram_are_taken_to_its_end() {
    let both = || vec!["eth0".to_owned(), "a".to_owned()];
    let links = [link("eth0", 0), link("a", 0)].concat();
    assert_eq!(decoded(&links).unwrap(), (both(), true, false));
    let ended = [links.clone(), done(0, 0), link("later", 0)].concat();
    assert_eq!(decoded(&ended).unwrap(), (both(), true, true));
    // What cannot be decoded is left out, and what is cut off is no message.
    let mut odd = link("odd", 0);
    let length = odd.len();
    odd[length - 8..].fill(0xff);
    let some = [link("eth0", 0), odd, link("a", 0)].concat();
    assert_eq!(decoded(&some).unwrap(), (both(), true, false));
    assert_eq!(decoded(&links[..links.len() - 1]).unwrap().0, ["eth0"]);
    assert_eq!(decoded(&[]).unwrap(), (Vec::new(), true, false));
    assert_eq!(decoded(&[0; 64]).unwrap(), (Vec::new(), true, false));
}

#[test]
fn change_during_a_dump_is_noticed() {
    for datagram in [
        [link("eth0", NLM_F_DUMP_INTR), link("a", 0), done(0, 0)].concat(),
        [link("eth0", 0), link("a", NLM_F_DUMP_INTR), done(0, 0)].concat(),
        [link("eth0", 0), link("a", 0), done(0, NLM_F_DUMP_INTR)].concat(),
    ] {
        assert!(!decoded(&datagram).unwrap().1);
    }
}

#[test]
fn refused_dump_is_an_error() {
    let refused = decoded(&[link("eth0", 0), done(-105, 0)].concat());
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(105));
    let mut error = ErrorMessage::default();
    error.code = std::num::NonZeroI32::new(-1);
    let refused = decoded(&message(NetlinkPayload::Error(error), 0));
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(1));
}

#[tokio::test]
async fn tables_of_this_machine() {
    let mut all = LinkMessage::default();
    all.header.interface_family = Default::default();
    let links = dump("list", RouteNetlinkMessage::GetLink(all), Some)
        .await
        .unwrap();
    let names: Vec<_> = links
        .iter()
        .map(|entry| match entry {
            RouteNetlinkMessage::NewLink(link) => name_of(link),
            _ => None,
        })
        .collect();
    assert!(names.contains(&Some("lo")), "{names:?}");
    // The kernel refuses a question that is none.
    let none = RouteNetlinkMessage::NewAddress(AddressMessage::default());
    let refused = dump("ask", none, Some).await.unwrap_err();
    assert!(refused.refusal().is_some(), "{refused}");
}

#[test]
fn flags_of_addresses() {
    use AddressState::{Deprecated, Duplicate, Ready, Tentative};
    let read = |ip: &str, flags: u32| {
        let mut message = AddressMessage::default();
        let ip = ip.parse().unwrap();
        message.header.prefix_len = 24;
        message.attributes.push(AddressAttribute::Address(ip));
        let flags = AddressFlags::from_bits_retain(flags);
        message.attributes.push(AddressAttribute::Flags(flags));
        let mut cache = netlink_packet_route::address::CacheInfo::default();
        cache.cstamp = 77;
        message.attributes.push(AddressAttribute::CacheInfo(cache));
        let address = address_of(&message).unwrap();
        assert_eq!(address.created, 77);
        (address.state, address.secondary)
    };
    // IFA_F_... in linux/if_addr.h; the stable address of temporary ones has 0x100.
    for (flags, state, temporary) in [
        (0x80, Ready, false),
        (0x100, Ready, false),
        (0x01, Ready, true),
        (0x21, Deprecated, true),
        (0x40, Tentative, false),
        (0x44, Tentative, false),
        (0xc8, Duplicate, false),
    ] {
        assert_eq!(read("2001:db8::5", flags), (state, temporary), "{flags:#x}");
    }
    // IPv4 has no such checks; a lifetime of 0 has always counted as any other.
    assert_eq!(read("172.28.16.5", 0x20), (Ready, false));
    assert_eq!(read("172.28.16.5", 0x01), (Ready, true));
    // Without the attribute the header has the flags.
    let mut message = AddressMessage::default();
    let ip = "2001:db8::5".parse().unwrap();
    message.attributes.push(AddressAttribute::Address(ip));
    message.header.flags = netlink_packet_route::address::AddressHeaderFlags::Tentative;
    assert_eq!(address_of(&message).unwrap().state, Tentative);
}
