//! A thousand UDP clients and a thousand TCP connections at one time.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wslmesh_relay::protocol::{Event, Limits, Protocol};

use super::udp::Echo;
use super::{Relay, TIMEOUT, forward, tcp, udp};
use crate::bench::figures::Report;

const EACH: usize = 1000;
const MOST_KB: u64 = 64 * 1024;
const IDLE: u32 = 3;

/// Idle connections of the second part.
const IDLE_CONNECTIONS: u32 = 10_000;

/// To so many files, where the system allows it, else to what it does.
fn raise_own_limit(most: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raise = |maximum| {
        let current = maximum;
        setrlimit(Resource::Nofile, Rlimit { current, maximum })
    };
    if limit.maximum.is_some_and(|maximum| maximum < most) && raise(Some(most)).is_ok() {
        return Ok(());
    }
    Ok(raise(limit.maximum)?)
}

/// Echoes every connection in a thread of its own.
fn tcp_echo() -> Result<std::net::SocketAddrV4> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let SocketAddr::V4(address) = listener.local_addr()? else {
        bail!("an IPv6 address")
    };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let echo = std::thread::Builder::new().stack_size(64 << 10);
            let begun = echo.spawn(move || -> std::io::Result<()> {
                let mut buffer = [0; 1024];
                loop {
                    let length = stream.read(&mut buffer)?;
                    if length == 0 {
                        return Ok(());
                    }
                    stream.write_all(buffer.get(..length).unwrap_or_default())?;
                }
            });
            drop(begun);
        }
    });
    Ok(address)
}

pub(in crate::bench) fn measure(report: &mut Report) -> Result<()> {
    raise_own_limit(8192)?;
    let (udp_echo, tcp_echo) = (Echo::start()?, tcp_echo()?);
    let (over_udp, over_tcp) = (udp::free_port()?, tcp::free_port()?);
    let wanted = [
        forward(Protocol::Udp, over_udp, udp_echo.address)?,
        forward(Protocol::Tcp, over_tcp, tcp_echo)?,
    ];
    let limits = Limits {
        udp_idle_seconds: IDLE,
        ..Limits::default()
    };
    let relay = Relay::start(&wanted, limits)?;
    let before = relay.memory()?;
    let mut lost = 0_u32;
    let mut clients = Vec::with_capacity(EACH);
    let mut connections = Vec::with_capacity(EACH);
    for _ in 0..EACH {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(over_udp)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        clients.push(socket);
        let stream = TcpStream::connect(over_tcp).context("connecting")?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        connections.push(stream);
    }
    let begun = Instant::now();
    for round in 0..3_u32 {
        let sent = [u8::try_from(round)?; 1000];
        let mut back = [0; 1000];
        // Fifty at a time: all at once would be a test of the socket buffers.
        for some in clients.chunks(50) {
            for client in some {
                client.send(&sent)?;
            }
            for client in some {
                let came = client.recv(&mut back).is_ok_and(|length| length == 1000);
                lost += u32::from(!came || back != sent);
            }
        }
        for mut connection in &connections {
            connection.write_all(&sent)?;
        }
        for mut connection in &connections {
            let came = connection.read_exact(&mut back).is_ok();
            lost += u32::from(!came || back != sent);
        }
    }
    let took = begun.elapsed();
    let memory = relay.memory()?;
    report.figure(
        "1,000 UDP clients and 1,000 TCP connections: lost",
        format!("{lost} of 6,000 echoes, in {} ms", took.as_millis()),
        "0",
        lost == 0,
    );
    report.figure(
        "- resident memory",
        format!(
            "{:.1} MB ({:.1} MB before)",
            memory as f64 / 1024.0,
            before as f64 / 1024.0
        ),
        "under 64 MB",
        memory < MOST_KB,
    );
    let quiet = Instant::now();
    let mut gone = 0;
    while gone < EACH && quiet.elapsed() < TIMEOUT {
        if let Event::Sessions { closed, .. } = relay.event()? {
            gone += closed.len();
        }
    }
    report.figure(
        &format!("- sessions gone after their {IDLE} s"),
        format!(
            "{gone}, the last after {:.1} s",
            quiet.elapsed().as_secs_f64()
        ),
        "1000",
        gone == EACH,
    );
    Ok(())
}

/// Many connections without traffic. The guest only accepts.
pub(in crate::bench) fn idle(report: &mut Report) -> Result<()> {
    raise_own_limit(32_768)?;
    // Two files each, for the relay as for this process, and some beside.
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = u32::try_from(files.saturating_sub(400) / 2).unwrap_or(u32::MAX);
    let count = IDLE_CONNECTIONS.min(possible);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let SocketAddr::V4(guest) = listener.local_addr()? else {
        bail!("an IPv6 address")
    };
    listener.set_nonblocking(true)?;
    let over = tcp::free_port()?;
    let limits = Limits {
        tcp_connections: count,
        tcp_connections_per_source: count,
        ..Limits::default()
    };
    let relay = Relay::start(&[forward(Protocol::Tcp, over, guest)?], limits)?;
    // One after the other: of many at once the kernel drops those for which the guest's
    // queue has no room, and tries again for minutes.
    let connect = |_| {
        let client = TcpStream::connect(over)?;
        let begun = Instant::now();
        loop {
            match listener.accept() {
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < TIMEOUT =>
                {
                    std::thread::sleep(Duration::from_micros(20));
                }
                accepted => return Ok((client, accepted?.0)),
            }
        }
    };
    let both: std::io::Result<Vec<_>> = (0..count).map(connect).collect();
    let (both, memory) = (both?, relay.memory()?);
    report.figure(
        &format!("{count} idle TCP connections: resident memory"),
        format!("{:.1} MB", memory as f64 / 1024.0),
        "under 64 MB",
        memory < MOST_KB,
    );
    drop(both);
    Ok(())
}
