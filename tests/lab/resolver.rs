//! A name server that answers in one of several ways, over UDP and TCP.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::agent::LIMIT;
use crate::probe::now;
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// `@dns ADDRESS:PORT HOW`: a name server.
pub(crate) const DNS: &str = "@dns";

/// Later than any deadline.
const LATE: Duration = Duration::from_secs(60);

/// The answer to a query; `None` for none.
fn answer(query: &[u8], how: &str, tcp: bool) -> Option<Vec<u8>> {
    if let Some(file) = how.strip_prefix("file=") {
        note(file, query);
        return answer(query, fs::read_to_string(file).ok()?.trim(), tcp);
    }
    if let Some(addresses) = how.strip_prefix("a=") {
        return with_addresses(query, addresses, tcp);
    }
    let code = match how {
        "noerror" | "cut" | "late" | "tcp" | "udp" => 0,
        "servfail" => 2,
        "nxdomain" => 3,
        "refused" => 5,
        "garbage" => return Some(b"HTTP/1.0 400 Bad Request\r\n\r\n".to_vec()),
        "number" => 0,
        _ => return None,
    };
    if how == "tcp" && !tcp || how == "udp" && tcp {
        return None;
    }
    if how == "late" {
        thread::sleep(LATE);
    }
    let mut answer = query.to_vec();
    let cut = if how == "cut" && !tcp { 2 } else { 0 };
    *answer.get_mut(2)? = 0x81 | cut;
    *answer.get_mut(3)? = 0x80 | code;
    if how == "number" {
        *answer.first_mut()? ^= 0xff;
    }
    Some(answer)
}

/// Writes down what was asked: CLOCK_MONOTONIC in ns, the kind, the first label of the name,
/// and how it is answered.
fn note(file: &str, query: &[u8]) {
    let kind = query.iter().rev().nth(2).copied().unwrap_or_default();
    let length = query.get(12).copied().unwrap_or_default().into();
    let label = query.get(13..).and_then(|rest| rest.get(..length));
    let label = String::from_utf8_lossy(label.unwrap_or_default());
    let how = fs::read_to_string(file).unwrap_or_default();
    let line = format!("{} {kind} {label} {}\n", now(), how.trim());
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(format!("{file}.log"));
    drop(log.map(|mut log| log.write_all(line.as_bytes())));
}

/// The answer that a name has these addresses, and no records of other kinds (RFC 1035,
/// section 4.1, and RFC 3596). One that is too large for UDP is cut off there.
fn with_addresses(query: &[u8], addresses: &str, tcp: bool) -> Option<Vec<u8>> {
    const HEAD: usize = 12;
    let name = query.get(HEAD..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEAD..HEAD + name + 5)?;
    let kind = *question.get(name + 2)?;
    let addresses = addresses.split(',').filter(|text| !text.is_empty());
    let addresses: Vec<IpAddr> = addresses.map(str::parse).collect::<Result<_, _>>().ok()?;
    let of_kind = addresses
        .iter()
        .filter(|ip| kind == if ip.is_ipv4() { 1 } else { 28 });
    let count = u16::try_from(of_kind.clone().count()).ok()?;
    let mut answer = vec![*query.first()?, *query.get(1)?, 0x81, 0x80, 0, 1];
    answer.extend(count.to_be_bytes());
    answer.extend([0, 0, 0, 0]);
    answer.extend(question);
    for address in of_kind {
        let bytes = match address {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        // The name of the question, class, a minute.
        let length = u8::try_from(bytes.len()).ok()?;
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, length]);
        answer.extend(bytes);
    }
    if answer.len() > 512 && !tcp {
        answer.truncate(HEAD + question.len());
        *answer.get_mut(2)? |= 2;
        answer.get_mut(6..8)?.fill(0);
    }
    Some(answer)
}

/// Runs the role [`DNS`].
pub(crate) fn role(address: &str, how: &str) -> ExitCode {
    if let Err(error) = serve(address, how) {
        eprintln!("{address}: {error:#}");
    }
    ExitCode::FAILURE
}

fn serve(address: &str, how: &str) -> Result<()> {
    let (socket, listener) = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
    let way = how.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let way = way.clone();
            thread::spawn(move || over_tcp(stream, &way));
        }
    });
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let query = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = answer(query, how, false) {
            drop(socket.send_to(&answer, from));
        }
    }
}

fn over_tcp(mut stream: std::net::TcpStream, how: &str) -> Result<()> {
    // The C library sends both kinds of queries by one connection.
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut query)?;
        match answer(&query, how, true) {
            Some(answer) if how == "garbage" => return Ok(stream.write_all(&answer)?),
            Some(answer) => {
                let length = u16::try_from(answer.len())?;
                stream.write_all(&length.to_be_bytes())?;
                stream.write_all(&answer)?;
            }
            // Silence lasts until the client has enough of it.
            None => {
                drop(stream.read(&mut length));
                return Ok(());
            }
        }
    }
}

impl World {
    /// A name server at this address of the guest.
    pub(crate) fn name_server(&self, address: &str, how: &str) -> Result<Process<'_>> {
        let server = self.spawn(
            Place::Guest,
            &["/init", crate::ROLE, DNS, &format!("{address}:53"), how],
            &[],
        )?;
        until("a name server", LIMIT, || {
            let sockets = self.shell("ss -Htln sport = 53; ss -Huln sport = 53")?;
            let both = sockets.lines().filter(|line| line.contains(address));
            Ok((both.count() == 2).then_some(()))
        })
        .with_context(|| server.stderr().unwrap_or_default())?;
        Ok(server)
    }

    /// What WSL has by default: the tunnel's server in /etc/resolv.conf, and its address.
    pub(crate) fn dns_tunnel(&self) -> Result<()> {
        self.shell(
            "rm -rf /etc/resolv.conf; mkdir -p /mnt/wsl
            echo 'nameserver 10.255.255.254' >/mnt/wsl/resolv.conf
            ln -s /mnt/wsl/resolv.conf /etc/resolv.conf
            ip addr show dev lo | grep -q 10.255.255.254 || ip addr add 10.255.255.254/32 dev lo",
        )?;
        Ok(())
    }
}
