//! Names, and what UDP sockets are told of their datagrams.

use std::io;
use std::iter::{once, successors};
use std::mem::zeroed;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::windows::io::AsRawSocket;
use std::ptr::{null, null_mut};

use windows_sys::Win32::NetworkManagement::IpHelper::{
    GAA_FLAG_SKIP_ANYCAST, GAA_FLAG_SKIP_FRIENDLY_NAME, GAA_FLAG_SKIP_MULTICAST,
    GAA_FLAG_SKIP_UNICAST,
};
use windows_sys::Win32::NetworkManagement::Ndis::IfOperStatusUp;
use windows_sys::Win32::Networking::WinSock::{
    ADDRINFOW, AF_INET, AF_INET6, FreeAddrInfoW, GetAddrInfoW, SOCK_STREAM, WSAHOST_NOT_FOUND,
    WSANO_DATA,
};

use super::{adapters, socket_address};
use crate::switch::engine::dns::Failure;

/// The addresses of a name, of IPv6 or else of IPv4, by the system's resolver: the hosts
/// file, the policies of the VPN and all other sources of names. It may take many seconds.
///
/// # Errors
///
/// There is no such name, it has no such addresses, or it is not known whether.
pub(crate) fn lookup(name: &str, is_ipv6: bool) -> Result<Vec<IpAddr>, Failure> {
    let name: Vec<u16> = name.encode_utf16().chain(once(0)).collect();
    // SAFETY: zeros are a valid value of this plain C structure.
    let mut hints: ADDRINFOW = unsafe { zeroed() };
    hints.ai_family = if is_ipv6 { AF_INET6 } else { AF_INET }.into();
    // One entry an address.
    hints.ai_socktype = SOCK_STREAM;
    let mut list = null_mut();
    // SAFETY: the name ends with a zero, and all of them live; the list is freed below.
    let result = unsafe { GetAddrInfoW(name.as_ptr(), null(), &raw const hints, &raw mut list) };
    match result {
        0 => {}
        WSAHOST_NOT_FOUND => return Err(Failure::NoName),
        WSANO_DATA => return Err(Failure::NoAddress),
        _ => return Err(Failure::Unknown),
    }
    // SAFETY: each pointer of the list is null or leads to a structure that lives until it
    // is freed, and an address has the structure of its family.
    let entries = successors(unsafe { list.as_ref() }, |entry| unsafe {
        entry.ai_next.as_ref()
    });
    // SAFETY: as above.
    let address = |entry: &ADDRINFOW| unsafe { socket_address(entry.ai_addr) };
    let addresses = entries.filter_map(address).map(|address| address.ip());
    let addresses = addresses
        .filter(|address| address.is_ipv6() == is_ipv6)
        .collect();
    // SAFETY: it came from GetAddrInfoW, and nothing refers to it any more.
    unsafe { FreeAddrInfoW(list) };
    Ok(addresses)
}

/// The nameservers of the adapters that are connected, those of the preferred adapter first.
pub(crate) fn nameservers() -> Vec<IpAddr> {
    let flags = GAA_FLAG_SKIP_UNICAST
        | GAA_FLAG_SKIP_ANYCAST
        | GAA_FLAG_SKIP_MULTICAST
        | GAA_FLAG_SKIP_FRIENDLY_NAME;
    let servers = adapters(flags, |adapters| {
        let mut servers = Vec::new();
        for adapter in adapters.filter(|adapter| adapter.OperStatus == IfOperStatusUp) {
            // SAFETY: each pointer of the list is null or leads to a structure that lives.
            let first = unsafe { adapter.FirstDnsServerAddress.as_ref() };
            // SAFETY: as above.
            let all = successors(first, |one| unsafe { one.Next.as_ref() });
            // SAFETY: as above, and an address has the structure of its family.
            let all = all.filter_map(|one| unsafe { socket_address(one.Address.lpSockaddr) });
            let all = all.map(|address| address.ip()).filter(is_configured);
            servers.extend(all.map(|address| (adapter.Ipv4Metric, address)));
        }
        servers.sort_by_key(|(metric, _)| *metric);
        servers.into_iter().map(|(_, address)| address).collect()
    });
    servers.unwrap_or_default()
}

/// Windows shows three site-local addresses where an adapter has no nameserver of IPv6, and
/// link-local ones need an adapter's number.
fn is_configured(address: &IpAddr) -> bool {
    let local = |address: &Ipv6Addr| matches!(address.segments(), [0xfe80..=0xfeff, ..]);
    !matches!(address, IpAddr::V6(address) if local(address))
}

/// Windows tells an unconnected socket of ICMP errors by itself, once about each datagram:
/// `WSAECONNRESET`.
///
/// # Errors
///
/// None on Windows.
pub(crate) fn report_errors(_socket: &impl AsRawSocket, _is_ipv6: bool) -> io::Result<()> {
    Ok(())
}

/// Windows does not say whom an error is about.
pub(crate) fn unreachable(_socket: &impl AsRawSocket) -> Option<SocketAddr> {
    None
}
