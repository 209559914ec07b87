//! A new guest address while clients are at work.

use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use wslmesh_relay::protocol::{Limits, Protocol};

use super::udp::Echo;
use super::{Relay, forward, tcp, udp};
use crate::bench::figures::Report;

const CHANGES: u32 = 100;
const WINDOW: u32 = 32;

/// Accepts and closes.
fn greeter() -> Result<SocketAddrV4> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let SocketAddr::V4(address) = listener.local_addr()? else {
        bail!("an IPv6 address")
    };
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(address)
}

pub(in crate::bench) fn measure(report: &mut Report) -> Result<()> {
    let guests = [(Echo::start()?, greeter()?), (Echo::start()?, greeter()?)];
    let (over_udp, over_tcp) = (udp::free_port()?, tcp::free_port()?);
    let towards = |round: u32| -> Result<_> {
        let [even, odd] = &guests;
        let (echo, greeter) = if round.is_multiple_of(2) { even } else { odd };
        Ok([
            forward(Protocol::Udp, over_udp, echo.address)?,
            forward(Protocol::Tcp, over_tcp, *greeter)?,
        ])
    };
    let mut relay = Relay::start(&towards(0)?, Limits::default())?;
    let over = AtomicBool::new(false);
    let (refused, connected) = (AtomicU32::new(0), AtomicU32::new(0));
    let (mut sent, mut back) = (0_u32, 0_u32);
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // A connection that the change resets was accepted nevertheless.
                match TcpStream::connect(over_tcp) {
                    Ok(mut stream) => {
                        connected.fetch_add(1, Ordering::Relaxed);
                        drop(stream.read(&mut [0]));
                    }
                    Err(_) => {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let outcome = (|| -> Result<()> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(over_udp)?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            for round in 1..=CHANGES {
                let begun = Instant::now();
                let mut under_way = 0;
                let mut changed = false;
                while begun.elapsed() < Duration::from_millis(20) || under_way > 0 {
                    let fill = begun.elapsed() < Duration::from_millis(20);
                    while fill && under_way < WINDOW {
                        socket.send(&[1; 1200])?;
                        (sent, under_way) = (sent + 1, under_way + 1);
                    }
                    if !changed && begun.elapsed() > Duration::from_millis(10) {
                        relay.set_forwards(&towards(round)?, Limits::default())?;
                        changed = true;
                    }
                    match socket.recv(&mut [0; 1200]) {
                        Ok(_) => (back, under_way) = (back + 1, under_way - 1),
                        // The rest was in flight to the old address.
                        Err(_) => under_way = 0,
                    }
                }
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    let lost = sent - back;
    report.figure(
        &format!("{CHANGES} re-points under load: datagrams lost"),
        format!("{lost} of {sent}"),
        "at most the 32 in flight each",
        lost <= CHANGES * WINDOW,
    );
    let refused = refused.into_inner();
    report.figure(
        "- TCP connections refused",
        format!("{refused} of {}", connected.into_inner() + refused),
        "0",
        refused == 0,
    );
    Ok(())
}
