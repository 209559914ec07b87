//! What a network must not get wrong, one probe each: connections that are closed, reset and
//! stalled in every way, and datagrams of all sizes.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::net_server::{HALF, SOURCE, checksum, pattern, port, raise_files, reset};

/// `@net-probe NAME ADDRESS`, a name of [`PROBES`]; prints what was seen.
pub(crate) const NET_PROBE: &str = "@net-probe";

type Probe = fn(IpAddr) -> Result<String>;

/// Name, title, and the probe.
pub(crate) const PROBES: [(&str, &str, Probe); 13] = [
    ("close-up", "closed with data unsent, up", close_up),
    ("close-down", "closed with data unsent, down", close_down),
    ("half-guest", "half closed by the guest", half_guest),
    ("half-server", "half closed by the server", half_server),
    ("reset-server", "reset by the server", reset_server),
    ("reset-guest", "reset by the guest", reset_guest),
    ("refused", "refused", refused),
    ("many", "1,000 connections", many),
    ("slow-server", "a server that never reads", slow_server),
    ("slow-guest", "a client that reads late", slow_guest),
    ("udp", "UDP of 0 to 60,000 bytes", udp),
    ("unreachable", "UDP to a closed port", unreachable),
    ("bidir", "full both ways for 10 s", bidir),
];

/// Longest wait for a step.
const LIMIT: Duration = Duration::from_secs(5);
/// Most that may be taken for a server that never reads.
const MOST_TAKEN: usize = 100 << 20;

/// Runs the role [`NET_PROBE`].
pub(crate) fn role(name: &str, address: &str) -> ExitCode {
    let run = || -> Result<String> {
        let known = PROBES.into_iter().find(|probe| probe.0 == name);
        let (_, _, probe) = known.context("no such probe")?;
        raise_files()?;
        probe(address.parse()?)
    };
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn connect(ip: IpAddr, port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::new(ip, port), LIMIT);
    let stream = stream.context("connecting")?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// To the end, and an error says how much had come.
fn read_all(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes);
    end.with_context(|| format!("after {} bytes", bytes.len()))?;
    Ok(bytes)
}

fn close_up(ip: IpAddr) -> Result<String> {
    let bytes = pattern(5 << 20);
    let mut stream = connect(ip, port::SINK)?;
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    let answer = String::from_utf8(read_all(&mut stream)?)?;
    let expected = format!("{} {}", bytes.len(), checksum(0, &bytes));
    ensure!(answer == expected, "{answer} instead of {expected}");
    Ok("all 5 MiB".to_owned())
}

fn whole_source(stream: &mut TcpStream) -> Result<()> {
    let bytes = read_all(stream)?;
    ensure!(bytes.len() == SOURCE, "{} of {SOURCE} bytes", bytes.len());
    ensure!(bytes == pattern(SOURCE), "other bytes");
    Ok(())
}

fn close_down(ip: IpAddr) -> Result<String> {
    whole_source(&mut connect(ip, port::SOURCE)?)?;
    Ok("all 8 MiB".to_owned())
}

fn half_guest(ip: IpAddr) -> Result<String> {
    let mut stream = connect(ip, port::HALF)?;
    stream.write_all(&[1; 300_000])?;
    stream.shutdown(Shutdown::Write)?;
    let length = read_all(&mut stream)?.len();
    ensure!(length == HALF, "{length} of {HALF} bytes");
    Ok("all 1 MiB".to_owned())
}

fn half_server(ip: IpAddr) -> Result<String> {
    let mut stream = connect(ip, port::SOURCE)?;
    whole_source(&mut stream)?;
    // The server still reads.
    for _ in 0..20 {
        stream.write_all(b"late").context("sending afterwards")?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok("may still send".to_owned())
}

fn reset_server(ip: IpAddr) -> Result<String> {
    let mut stream = connect(ip, port::RESET)?;
    stream.write_all(b"x")?;
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok("a reset".to_owned()),
        other => bail!("no reset: {other:?}"),
    }
}

fn reset_guest(ip: IpAddr) -> Result<String> {
    let mut stream = connect(ip, port::SINK)?;
    stream.write_all(&[1; 1234])?;
    // The reset would overtake data that was not taken yet.
    std::thread::sleep(Duration::from_millis(100));
    reset(stream)?;
    let begun = Instant::now();
    loop {
        let end = String::from_utf8(read_all(&mut connect(ip, port::LAST_END)?)?)?;
        if end == "1234 bytes, then a reset" {
            return Ok("a reset".to_owned());
        }
        ensure!(begun.elapsed() < LIMIT, "the server has seen: {end}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn refused(ip: IpAddr) -> Result<String> {
    let begun = Instant::now();
    let address = SocketAddr::new(ip, port::CLOSED);
    match TcpStream::connect_timeout(&address, LIMIT) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            let took = begun.elapsed();
            ensure!(took < Duration::from_secs(1), "only after {took:?}");
            Ok("refused".to_owned())
        }
        Err(error) => bail!("not refused: {error}"),
        Ok(_) => bail!("not refused: connected"),
    }
}

fn many(ip: IpAddr) -> Result<String> {
    let mut streams = Vec::new();
    for count in 0..1000 {
        let stream = connect(ip, port::ECHO);
        streams.push(stream.with_context(|| format!("after {count} connections"))?);
    }
    for stream in &mut streams {
        stream.write_all(&[5; 100])?;
    }
    let mut echoes = 0;
    for stream in &mut streams {
        let mut bytes = [0; 100];
        let read = stream.read_exact(&mut bytes);
        echoes += u32::from(read.is_ok() && bytes == [5; 100]);
    }
    ensure!(echoes == 1000, "{echoes} of 1000 echoes");
    Ok("1000 echoes".to_owned())
}

fn slow_server(ip: IpAddr) -> Result<String> {
    let mut stream = connect(ip, port::NEVER_READS)?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let bytes = vec![0; 1 << 20];
    let mut taken = 0;
    while taken < 5 * MOST_TAKEN {
        match stream.write(&bytes) {
            Ok(length) => taken += length,
            Err(_) => break,
        }
    }
    let text = format!("{:.1} MB taken", taken as f64 / 1e6);
    ensure!(taken < MOST_TAKEN, "{text}");
    Ok(text)
}

fn slow_guest(ip: IpAddr) -> Result<String> {
    let mut stream = connect(ip, port::SOURCE)?;
    std::thread::sleep(Duration::from_secs(2));
    whole_source(&mut stream)?;
    Ok("all 8 MiB".to_owned())
}

fn datagrams(ip: IpAddr, port: u16) -> Result<UdpSocket> {
    let any = if ip.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(SocketAddr::new(ip, port))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok(socket)
}

fn udp(ip: IpAddr) -> Result<String> {
    let socket = datagrams(ip, port::ECHO)?;
    let mut failed = Vec::new();
    let mut buffer = vec![0; 65_536];
    for length in [0, 1, 1200, 1472, 1473, 4000, 20_000, 60_000] {
        let bytes = pattern(length);
        socket.send(&bytes)?;
        let back = socket.recv(&mut buffer);
        if !back.is_ok_and(|got| buffer.get(..got) == Some(&bytes)) {
            failed.push(length.to_string());
        }
    }
    ensure!(failed.is_empty(), "not back: {} bytes", failed.join(", "));
    Ok("all back".to_owned())
}

fn unreachable(ip: IpAddr) -> Result<String> {
    let socket = datagrams(ip, port::CLOSED)?;
    socket.send(b"x")?;
    match socket.recv(&mut [0; 16]) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok("refused".to_owned()),
        Err(error) => bail!("not refused: {error}"),
        Ok(_) => bail!("not refused: an answer"),
    }
}

/// Connections of the last probe.
const PAIRS: usize = 4;
/// Seconds that it lasts.
const SECONDS: u32 = 10;

/// Both ends send more than the way takes, all the time: neither direction may stop, and
/// afterwards another connection is served.
fn bidir(ip: IpAddr) -> Result<String> {
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let over = Instant::now() + Duration::from_secs(SECONDS.into());
    let streams: Vec<TcpStream> = (0..PAIRS)
        .map(|_| connect(ip, port::BOTH_WAYS))
        .collect::<Result<_>>()?;
    let stalled = std::thread::scope(|scope| {
        let (up, down) = (&up, &down);
        for stream in &streams {
            scope.spawn(move || {
                let (bytes, mut stream) = ([3; 65_536], stream);
                while let Ok(length) = stream.write(&bytes)
                    && Instant::now() < over
                {
                    up.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
                }
            });
            scope.spawn(move || {
                let (mut bytes, mut stream) = ([0; 65_536], stream);
                while let Ok(length) = stream.read(&mut bytes)
                    && Instant::now() < over
                {
                    down.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
                }
            });
        }
        let mut stalled = Vec::new();
        let mut before = (0, 0);
        for second in 1..=SECONDS {
            std::thread::sleep(Duration::from_secs(1));
            let now = (up.load(Ordering::Relaxed), down.load(Ordering::Relaxed));
            if now.0 == before.0 {
                stalled.push(format!("up in second {second}"));
            }
            if now.1 == before.1 {
                stalled.push(format!("down in second {second}"));
            }
            before = now;
        }
        stalled
    });
    drop(streams);
    let first = stalled.first().cloned().unwrap_or_default();
    ensure!(
        stalled.is_empty(),
        "nothing came {first}, {} stalls",
        stalled.len()
    );
    let mut stream = connect(ip, port::ECHO).context("afterwards")?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0]).context("afterwards")?;
    let rate = |bytes: AtomicU64| bytes.into_inner() as f64 * 8e-9 / f64::from(SECONDS);
    Ok(format!("{:.2} and {:.2} Gbit/s", rate(up), rate(down)))
}
