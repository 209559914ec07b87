//! Round trips of datagrams of 1200 bytes: the rate with 32 in flight, and the time
//! of a single one.

use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use wslmesh_relay::protocol::{Limits, Protocol};

use super::{FREE, ONE, Relay, Socat, TIMEOUT, forward, median, on_one_processor};
use crate::bench::figures::{Report, Times, short};

const SIZE: usize = 1200;
const WINDOW: usize = 32;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1500);
const TRIPS: usize = 4000;

/// Echoes datagrams, in a thread, until it is dropped.
pub(super) struct Echo {
    pub(super) address: SocketAddrV4,
    over: Arc<AtomicBool>,
}

impl Echo {
    pub(super) fn start() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let SocketAddr::V4(address) = socket.local_addr()? else {
            bail!("an IPv6 address")
        };
        let over = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&over);
        std::thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while !watched.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    drop(socket.send_to(bytes, from));
                }
            }
        });
        Ok(Self { address, over })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<SocketAddrV4> {
    let SocketAddr::V4(address) = UdpSocket::bind("127.0.0.1:0")?.local_addr()? else {
        bail!("an IPv6 address")
    };
    Ok(address)
}

fn client(to: SocketAddrV4) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    Ok(socket)
}

/// Round trips per second with [`WINDOW`] datagrams in flight. A lost one is replaced
/// after 200 ms, which shows in the figure.
fn rate(to: SocketAddrV4) -> Result<f64> {
    let socket = client(to)?;
    let (datagram, mut buffer) = ([7; SIZE], [0; SIZE]);
    let begun = Instant::now();
    let mut under_way = 0;
    let mut back = 0_u32;
    while begun.elapsed() < ROUND {
        while under_way < WINDOW {
            socket.send(&datagram)?;
            under_way += 1;
        }
        match socket.recv(&mut buffer) {
            Ok(_) => {
                under_way -= 1;
                back += 1;
            }
            Err(_) => under_way = 0,
        }
    }
    Ok(f64::from(back) / begun.elapsed().as_secs_f64())
}

fn trips(to: SocketAddrV4) -> Result<Vec<Duration>> {
    let socket = client(to)?;
    let (datagram, mut buffer) = ([7; SIZE], [0; SIZE]);
    let mut times = Vec::with_capacity(TRIPS);
    for _ in 0..TRIPS {
        let begun = Instant::now();
        socket.send(&datagram)?;
        if socket.recv(&mut buffer).is_ok() {
            times.push(begun.elapsed());
        }
    }
    Ok(times)
}

fn answers(to: SocketAddrV4) -> Result<()> {
    let socket = client(to)?;
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        // Until socat listens, it refuses.
        if socket.send(b"?").is_ok() && socket.recv(&mut [0; 1]).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("{to} does not answer")
}

pub(in crate::bench) fn measure(report: &mut Report) -> Result<()> {
    let (free, one) = (all_ways()?, on_one_processor(all_ways)?);
    for (place, (rates, times), wanted) in [(FREE, free, false), (ONE, one, true)] {
        let [direct, relay, socat] = rates;
        let faster = relay / socat;
        let name = format!("UDP, 1200 bytes, 32 in flight, {place}: direct");
        report.beside(&name, per_second(direct));
        report.beside("- through socat UDP4-LISTEN,fork", per_second(socat));
        let text = format!(
            "{}, {faster:.1} times socat, {:.0} % of direct",
            per_second(relay),
            relay / direct * 100.0
        );
        let name = "- through the relay";
        if wanted {
            let reached = faster >= 2.0 && relay >= direct / 2.0;
            report.figure(name, text, "2 times socat, half of direct", reached);
        } else {
            report.beside(name, text);
        }
        let [direct, relay, socat] = times;
        report.beside("- one round trip: direct", direct.text());
        report.beside("- through socat", socat.text());
        let added = relay
            .median()
            .checked_sub(direct.median())
            .context("the relay is faster than no relay")?;
        report.figure(
            "- through the relay",
            format!("{}; adds {} at the median", relay.text(), short(added)),
            "adds under 50 us",
            added < Duration::from_micros(50),
        );
    }
    Ok(())
}

/// Rates and round trips: directly, through the relay and through socat, in turn.
fn all_ways() -> Result<([f64; 3], [Times; 3])> {
    let echo = Echo::start()?;
    let (ours, theirs) = (free_port()?, free_port()?);
    let wanted = forward(Protocol::Udp, ours, echo.address)?;
    let _relay = Relay::start(&[wanted], Limits::default())?;
    let _socat = Socat::start(
        &format!(
            "UDP4-LISTEN:{},bind=127.0.0.1,fork,reuseaddr",
            theirs.port()
        ),
        &format!("UDP4:{}", echo.address),
    )?;
    answers(ours)?;
    answers(theirs)?;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let ways = [echo.address, ours, theirs];
        for (to, (rates, times)) in ways.into_iter().zip(rates.iter_mut().zip(&mut times)) {
            rates.push(rate(to)?);
            times.extend(trips(to)?);
        }
    }
    Ok((rates.map(median), times.map(Times::new)))
}

fn per_second(rate: f64) -> String {
    format!("{:.1} k round trips/s", rate / 1e3)
}
