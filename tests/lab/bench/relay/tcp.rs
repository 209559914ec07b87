//! iperf3 and round trips through the relay, through socat, through nginx, and without any.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wslmesh_relay::protocol::{Limits, Protocol};

use super::{Relay, Socat, TIMEOUT, forward, median};
use crate::bench::figures::{Report, Times};

/// Many and short: where the kernel puts the three processes decides between 9 and
/// 16 Gbit/s, on the same programs, and changes from one run of iperf3 to the next.
const ROUNDS: usize = 9;
const SECONDS: &str = "1";
/// Of these, too, many are short: where three processes share two processors one round says
/// more of the scheduler than of the programs.
const TRIP_ROUNDS: usize = 25;
/// Round trips of a round, and their bytes.
const TRIPS: usize = 2000;
const TRIP: usize = 200;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// nginx as a TCP proxy, with its own defaults and one process; `None` without it. It is not
/// installed for this: its package starts a web server.
fn nginx(folder: &Path, from: SocketAddrV4, to: SocketAddrV4) -> Result<Option<Server>> {
    // Where Debian has it; other systems build it in.
    let module = Path::new("/usr/lib/nginx/modules/ngx_stream_module.so");
    let load = module
        .exists()
        .then(|| format!("load_module {};", module.display()));
    let text = format!(
        "daemon off; master_process off; pid nginx.pid; {}
events {{ worker_connections 8192; }}
stream {{ server {{ listen {from}; proxy_pass {to}; }} }}\n",
        load.unwrap_or_default()
    );
    std::fs::write(folder.join("nginx.conf"), text)?;
    let child = Command::new("nginx")
        .arg("-p")
        .arg(folder)
        .args(["-c", "nginx.conf", "-e", "error.log"])
        .stdin(Stdio::null())
        .spawn();
    match child {
        Ok(child) => Ok(Some(Server(child))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("starting nginx"),
    }
}

/// Echoes each connection, in a thread of its own.
fn echo() -> Result<SocketAddrV4> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let SocketAddr::V4(address) = listener.local_addr()? else {
        bail!("an IPv6 address")
    };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> std::io::Result<()> {
                stream.set_nodelay(true)?;
                let mut buffer = [0; TRIP];
                loop {
                    stream.read_exact(&mut buffer)?;
                    stream.write_all(&buffer)?;
                }
            });
        }
    });
    Ok(address)
}

fn trips(to: SocketAddrV4) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut buffer = [7; TRIP];
    let mut trip = || -> Result<Duration> {
        let begun = Instant::now();
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
        Ok(begun.elapsed())
    };
    (0..TRIPS).map(|_| trip()).collect()
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
    let (nginxs, nginxs_trip, ours_trip) = (free_port()?, free_port()?, free_port()?);
    let iperf3 = Command::new("iperf3")
        .args(["-s", "-B", "127.0.0.1", "-p", &server.port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // It logs an error for the connection that checks whether it listens.
        .stderr(Stdio::null())
        .spawn()
        .context("starting iperf3, which is needed to measure with")?;
    let _server = Server(iperf3);
    let echo = echo()?;
    let wanted = [
        forward(Protocol::Tcp, ours, server)?,
        forward(Protocol::Tcp, ours_trip, echo)?,
    ];
    let _relay = Relay::start(&wanted, Limits::default())?;
    let listen = format!(
        "TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,backlog=128",
        theirs.port()
    );
    let _socat = Socat::start(&listen, &format!("TCP:{server}"))?;
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let nginx = [
        nginx(folders[0].path(), nginxs, server)?,
        nginx(folders[1].path(), nginxs_trip, echo)?,
    ];
    let has_nginx = nginx.iter().all(Option::is_some);
    // The last one is nginx.
    let tried = |ways: usize| if has_nginx { ways } else { ways - 1 };
    let all = [server, ours, theirs, ours_trip, nginxs, nginxs_trip];
    for to in all.into_iter().take(if has_nginx { 6 } else { 4 }) {
        listens(to)?;
    }
    for (streams, least) in [("1", 1.0), ("32", 1.1)] {
        let ways = [server, ours, theirs, nginxs];
        let mut rates = ways.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (to, rates) in ways.into_iter().zip(&mut rates).take(tried(4)) {
                rates.push(throughput(to, streams)?);
            }
        }
        let [direct, relay, socat, nginx] = rates.map(median);
        let name = |way: &str| format!("TCP, {streams} of iperf3's streams: {way}");
        report.beside(&name("direct"), format!("{direct:.1} Gbit/s"));
        report.beside(
            "- through socat TCP-LISTEN,fork",
            format!("{socat:.1} Gbit/s"),
        );
        let faster = relay / socat;
        report.figure(
            "- through the relay",
            format!(
                "{relay:.1} Gbit/s, {faster:.1} times socat, {:.0} % of direct",
                relay / direct * 100.0
            ),
            "1.5 times socat",
            faster >= 1.5,
        );
        if !has_nginx {
            report.beside("- through nginx stream", "not measured: there is no nginx");
            continue;
        }
        let faster = relay / nginx;
        report.figure(
            "- through nginx stream",
            format!("{nginx:.1} Gbit/s; the relay {faster:.2} times that"),
            &format!("the relay {least} times that"),
            faster >= least,
        );
    }
    let ways = [echo, ours_trip, nginxs_trip];
    let (mut times, mut ratios) = (ways.map(|_| Vec::new()), Vec::new());
    for _ in 0..TRIP_ROUNDS {
        let mut round = Vec::new();
        for (to, times) in ways.into_iter().zip(&mut times).take(tried(3)) {
            let trips = trips(to)?;
            times.extend_from_slice(&trips);
            round.push(Times::new(trips));
        }
        if let [_, relay, nginx] = round.as_slice() {
            ratios.push(relay.times_longer(nginx));
        }
    }
    let [direct, relay, nginx] = times.map(Times::new);
    report.beside("TCP, one round trip: direct", direct.text());
    if !has_nginx {
        report.beside("- through the relay", relay.text());
        return Ok(());
    }
    report.beside("- through nginx stream", nginx.text());
    let ratio = median(ratios);
    report.figure(
        "- through the relay",
        format!("{}; {ratio:.2} times nginx's", relay.text()),
        "below nginx's (median of the rounds)",
        ratio < 1.0,
    );
    Ok(())
}
