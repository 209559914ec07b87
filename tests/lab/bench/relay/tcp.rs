//! iperf3 and round trips through the relay, through socat, through nginx, and without any.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use wslmesh_relay::protocol::{Limits, Protocol};

use super::{FREE, ONE, Relay, Socat, TIMEOUT, forward, median, on_one_processor};
use crate::bench::figures::{Report, Times};

/// Many and short: where the kernel puts the three processes decides between 9 and
/// 16 Gbit/s, on the same programs, and changes from one run of iperf3 to the next.
const ROUNDS: usize = 9;
/// Streams of iperf3, and how many times nginx's throughput the relay is to have.
const STREAMS: [(&str, f64); 2] = [("1", 1.0), ("32", 1.1)];
const SECONDS: &str = "1";
/// Of these, too, many are short.
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

/// Gbit/s of one stream and of 32: directly, through the relay, socat and nginx.
type Rates = [f64; 4];

pub(in crate::bench) fn measure(report: &mut Report) -> Result<()> {
    let (free, one) = (throughputs()?, on_one_processor(throughputs)?);
    for (place, (rates, has_nginx)) in [(FREE, free), (ONE, one)] {
        for ([direct, relay, socat, nginx], (streams, least)) in rates.into_iter().zip(STREAMS) {
            let name = format!("TCP, {streams} of iperf3's streams, {place}: direct");
            report.beside(&name, format!("{direct:.1} Gbit/s"));
            let name = "- through socat TCP-LISTEN,fork";
            report.beside(name, format!("{socat:.1} Gbit/s"));
            let by = format!("{nginx:.1} Gbit/s");
            report.beside(
                "- through nginx stream",
                if has_nginx {
                    &by
                } else {
                    "not measured: there is no nginx"
                },
            );
            let percent = relay / direct * 100.0;
            let (socats, nginxs) = (relay / socat, relay / nginx);
            let mut text =
                format!("{relay:.1} Gbit/s, {percent:.0} % of direct, {socats:.1} times socat");
            if has_nginx {
                text.push_str(&format!(", {nginxs:.2} times nginx"));
            }
            let name = "- through the relay";
            match place {
                FREE => report.figure(name, text, "1.5 times socat", socats >= 1.5),
                _ if has_nginx => {
                    report.figure(name, text, &format!("{least} times nginx"), nginxs >= least);
                }
                _ => report.beside(name, text),
            }
        }
    }
    Ok(())
}

/// The medians for each of [`STREAMS`], and whether there is an nginx.
fn throughputs() -> Result<([Rates; 2], bool)> {
    let (server, ours) = (free_port()?, free_port()?);
    let (theirs, nginxs) = (free_port()?, free_port()?);
    let iperf3 = Command::new("iperf3")
        .args(["-s", "-B", "127.0.0.1", "-p", &server.port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // It logs an error for the connection that checks whether it listens.
        .stderr(Stdio::null())
        .spawn()
        .context("starting iperf3, which is needed to measure with")?;
    let _server = Server(iperf3);
    let _relay = Relay::start(&[forward(Protocol::Tcp, ours, server)?], Limits::default())?;
    let listen = format!(
        "TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,backlog=128",
        theirs.port()
    );
    let _socat = Socat::start(&listen, &format!("TCP:{server}"))?;
    let folder = tempfile::tempdir()?;
    let nginx = nginx(folder.path(), nginxs, server)?;
    let ways = [server, ours, theirs, nginxs];
    // The last one is nginx.
    let tried = if nginx.is_some() { 4 } else { 3 };
    for to in ways.into_iter().take(tried) {
        listens(to)?;
    }
    let mut medians = [[0.0; 4]; 2];
    for ((streams, _), medians) in STREAMS.into_iter().zip(&mut medians) {
        let mut rates = ways.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (to, rates) in ways.into_iter().zip(&mut rates).take(tried) {
                rates.push(throughput(to, streams)?);
            }
        }
        for (rates, median) in rates.into_iter().zip(medians).take(tried) {
            *median = self::median(rates);
        }
    }
    Ok((medians, nginx.is_some()))
}

pub(in crate::bench) fn round_trips(report: &mut Report) -> Result<()> {
    let (free, one) = (trips_all_ways()?, on_one_processor(trips_all_ways)?);
    let places = [(FREE, free, false), (ONE, one, true)];
    for (place, ([direct, relay, nginx], ratio), wanted) in places {
        let name = format!("TCP, one round trip, {place}: direct");
        report.beside(&name, direct.text());
        let Some(ratio) = ratio else {
            report.beside("- through the relay", relay.text());
            continue;
        };
        report.beside("- through nginx stream", nginx.text());
        let text = format!("{}; {ratio:.2} times nginx's", relay.text());
        if wanted {
            let target = "below nginx's (median of the rounds)";
            report.figure("- through the relay", text, target, ratio < 1.0);
        } else {
            report.beside("- through the relay", text);
        }
    }
    Ok(())
}

/// Directly, through the relay and through nginx, in turn; and the median of how many times
/// longer than nginx the relay took in a round.
fn trips_all_ways() -> Result<([Times; 3], Option<f64>)> {
    let (echo, ours, nginxs) = (echo()?, free_port()?, free_port()?);
    let _relay = Relay::start(&[forward(Protocol::Tcp, ours, echo)?], Limits::default())?;
    let folder = tempfile::tempdir()?;
    let nginx = nginx(folder.path(), nginxs, echo)?;
    let ways = [echo, ours, nginxs];
    let tried = if nginx.is_some() { 3 } else { 2 };
    for to in ways.into_iter().take(tried) {
        listens(to)?;
    }
    let (mut times, mut ratios) = (ways.map(|_| Vec::new()), Vec::new());
    for _ in 0..TRIP_ROUNDS {
        let mut round = Vec::new();
        for (to, times) in ways.into_iter().zip(&mut times).take(tried) {
            let trips = trips(to)?;
            times.extend_from_slice(&trips);
            round.push(Times::new(trips));
        }
        if let [_, relay, nginx] = round.as_slice() {
            ratios.push(relay.times_longer(nginx));
        }
    }
    let ratio = nginx.is_some().then(|| median(ratios));
    Ok((times.map(Times::new), ratio))
}
