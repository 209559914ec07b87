//! Clients that measure a network: times in ns and counts, in JSON.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::net_server::raise_files;

/// `@net-client KIND ADDRESS:PORT COUNT`.
pub(crate) const NET_CLIENT: &str = "@net-client";

/// Round trips of one byte, one after the other; COUNT of them. Prints their times.
pub(crate) const TRIPS: &str = "trips";
/// Connections one after the other, each waiting for one byte; prints [`Connects`].
pub(crate) const CONNECTS: &str = "connects";
/// Datagrams of 1200 bytes, 32 in flight, for COUNT ms; prints [`Datagrams`].
pub(crate) const DATAGRAMS: &str = "datagrams";
/// COUNT connections that are echoed once and then idle; prints `ready` and stays.
pub(crate) const HOLD: &str = "hold";

/// Echoes of a byte by one connection, COUNT ms apart, until it fails; prints `ready` after the
/// first, and in the end why.
pub(crate) const TALK: &str = "talk";

const LIMIT: Duration = Duration::from_secs(5);
const SIZE: usize = 1200;
const WINDOW: u32 = 32;

/// Times in ns from the start of connecting.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Connects {
    pub(crate) connected: Vec<u64>,
    pub(crate) first_byte: Vec<u64>,
    pub(crate) failed: u32,
}

/// Echoes that came back, and those that did not within 100 ms.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Datagrams {
    pub(crate) per_second: f64,
    pub(crate) lost: u32,
}

/// Runs the role [`NET_CLIENT`].
pub(crate) fn role(kind: &str, address: &str, count: &str) -> ExitCode {
    let run = || -> Result<String> {
        raise_files()?;
        let (to, count) = (address.parse()?, count.parse()?);
        Ok(match kind {
            TRIPS => serde_json::to_string(&trips(to, count)?)?,
            CONNECTS => serde_json::to_string(&connects(to, count))?,
            DATAGRAMS => serde_json::to_string(&datagrams(to, count)?)?,
            HOLD => hold(to, count)?,
            TALK => talk(to, count)?,
            other => bail!("no client {other}"),
        })
    };
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{kind} {address}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn elapsed(begun: Instant) -> u64 {
    begun.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

fn open(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    Ok(stream)
}

fn trips(to: SocketAddr, count: u32) -> Result<Vec<u64>> {
    let mut stream = open(to)?;
    let mut trip = || -> Result<u64> {
        let begun = Instant::now();
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        Ok(elapsed(begun))
    };
    for _ in 0..200 {
        trip()?;
    }
    (0..count).map(|_| trip()).collect()
}

fn connects(to: SocketAddr, count: u32) -> Connects {
    let mut all = Connects::default();
    for _ in 0..count {
        let once = || -> Result<(u64, u64)> {
            let begun = Instant::now();
            let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
            let connected = elapsed(begun);
            stream.set_read_timeout(Some(LIMIT))?;
            stream.read_exact(&mut [0])?;
            Ok((connected, elapsed(begun)))
        };
        match once() {
            Ok((connected, first_byte)) => {
                all.connected.push(connected);
                all.first_byte.push(first_byte);
            }
            Err(_) => all.failed += 1,
        }
    }
    all
}

fn datagrams(to: SocketAddr, ms: u32) -> Result<Datagrams> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (datagram, mut buffer) = ([1; SIZE], [0; SIZE]);
    let (mut back, mut lost, mut in_flight) = (0_u32, 0, 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(ms.into()) {
        while in_flight < WINDOW {
            socket.send(&datagram)?;
            in_flight += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(_) => {
                back += 1;
                in_flight -= 1;
            }
            Err(_) => {
                lost += in_flight;
                in_flight = 0;
            }
        }
    }
    let per_second = f64::from(back) / begun.elapsed().as_secs_f64();
    Ok(Datagrams { per_second, lost })
}

fn talk(to: SocketAddr, pause: u32) -> Result<String> {
    let mut stream = open(to)?;
    let mut first = true;
    loop {
        let said = stream.write_all(b"x");
        if let Err(error) = said.and_then(|()| stream.read_exact(&mut [0])) {
            return Ok(error.to_string());
        }
        if std::mem::take(&mut first) {
            println!("ready");
        }
        std::thread::sleep(Duration::from_millis(pause.into()));
    }
}

fn hold(to: SocketAddr, count: u32) -> Result<String> {
    let mut streams = Vec::new();
    for number in 0..count {
        let stream = open(to);
        streams.push(stream.with_context(|| format!("after {number} connections"))?);
    }
    for stream in &mut streams {
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
    }
    println!("ready");
    loop {
        std::thread::park();
    }
}
