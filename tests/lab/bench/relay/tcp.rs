//! iperf3 through the relay, through socat, and without either.

use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wslmesh_relay::protocol::{Limits, Protocol};

use super::{Relay, Socat, TIMEOUT, forward, median};
use crate::bench::figures::Report;

/// Many and short: where the kernel puts the three processes decides between 9 and
/// 16 Gbit/s, on the same programs, and changes from one run of iperf3 to the next.
const ROUNDS: usize = 9;
const SECONDS: &str = "1";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<SocketAddrV4> {
    let SocketAddr::V4(address) = TcpListener::bind("127.0.0.1:0")?.local_addr()? else {
        bail!("an IPv6 address")
    };
    Ok(address)
}

fn listens(to: SocketAddrV4) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        if TcpStream::connect(to).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("{to} does not listen")
}

/// Gbit/s as the receiver has it.
fn throughput(to: SocketAddrV4, streams: &str) -> Result<f64> {
    let port = to.port().to_string();
    let arguments = [
        "-c",
        "127.0.0.1",
        "-p",
        &port,
        "-P",
        streams,
        "-t",
        SECONDS,
        "-J",
    ];
    let begun = Instant::now();
    loop {
        let output = Command::new("iperf3").args(arguments).output()?;
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let rate = json.pointer("/end/sum_received/bits_per_second");
        if let Some(rate) = rate.and_then(serde_json::Value::as_f64) {
            return Ok(rate / 1e9);
        }
        // Its server takes one test at a time, is busy for a moment after it, and now
        // and then ends a test without a result.
        ensure!(begun.elapsed() < TIMEOUT, "iperf3: {json}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(in crate::bench) fn measure(report: &mut Report) -> Result<()> {
    let (server, ours, theirs) = (free_port()?, free_port()?, free_port()?);
    let iperf3 = Command::new("iperf3")
        .args(["-s", "-B", "127.0.0.1", "-p", &server.port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // It logs an error for the connection that checks whether it listens.
        .stderr(Stdio::null())
        .spawn()
        .context("starting iperf3, which is needed to measure with")?;
    let _server = Server(iperf3);
    let wanted = forward(Protocol::Tcp, ours, server)?;
    let _relay = Relay::start(&[wanted], Limits::default())?;
    let listen = format!(
        "TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,backlog=128",
        theirs.port()
    );
    let _socat = Socat::start(&listen, &format!("TCP:{server}"))?;
    for to in [server, ours, theirs] {
        listens(to)?;
    }
    for streams in ["1", "32"] {
        let mut rates = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (to, rates) in [server, ours, theirs].into_iter().zip(&mut rates) {
                rates.push(throughput(to, streams)?);
            }
        }
        let [direct, relay, socat] = rates.map(median);
        let faster = relay / socat;
        let name = |way: &str| format!("TCP, {streams} of iperf3's streams: {way}");
        report.beside(&name("direct"), format!("{direct:.1} Gbit/s"));
        report.beside(
            "- through socat TCP-LISTEN,fork",
            format!("{socat:.1} Gbit/s"),
        );
        report.figure(
            "- through the relay",
            format!(
                "{relay:.1} Gbit/s, {faster:.1} times socat, {:.0} % of direct",
                relay / direct * 100.0
            ),
            "1.5 times socat",
            faster >= 1.5,
        );
    }
    Ok(())
}
