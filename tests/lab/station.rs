//! A UDP socket somewhere in the world that a trial speaks through: what it hears
//! comes with its sender, because that is what a tunnel goes by.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::agent::LIMIT;
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// `@station ADDRESS:PORT SOCKET`: a UDP socket, and where it takes its orders.
pub(crate) const STATION: &str = "@station";
/// `@crowd ADDRESS:PORT COUNT`: so many clients say one word each.
pub(crate) const CROWD: &str = "@crowd";
/// Between two tries: a datagram that meets a change of address is lost.
const AGAIN: Duration = Duration::from_millis(25);

/// A datagram that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heard {
    /// Its sender.
    pub(crate) from: SocketAddr,
    /// What it said.
    pub(crate) text: String,
}

#[derive(Serialize, Deserialize)]
struct Say {
    to: SocketAddr,
    text: String,
}

/// Runs the role [`STATION`] until it is killed: one line of JSON for each datagram.
pub(crate) fn station_role(address: &str, orders: &str) -> ExitCode {
    if let Err(error) = station(address, orders) {
        eprintln!("{address}: {error:#}");
    }
    ExitCode::FAILURE
}

fn station(address: &str, orders: &str) -> Result<()> {
    let socket = UdpSocket::bind(address)?;
    let speaker = socket.try_clone()?;
    let listener = UnixListener::bind(orders)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Err(error) = carry_out(&speaker, stream) {
                eprintln!("{error:#}");
            }
        }
    });
    let mut buffer = [0; 2048];
    loop {
        // A port that is closed on the other side comes as an error.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        let heard = Heard {
            from,
            text: text.into_owned(),
        };
        println!("{}", serde_json::to_string(&heard)?);
    }
}

fn carry_out(speaker: &UdpSocket, mut stream: UnixStream) -> Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    if line.is_empty() {
        return Ok(());
    }
    let say: Say = serde_json::from_str(&line)?;
    let sent = speaker.send_to(say.text.as_bytes(), say.to);
    stream.write_all(
        sent.map_or_else(|e| e.to_string(), |_| String::new())
            .as_bytes(),
    )?;
    Ok(())
}

/// Runs the role [`CROWD`].
pub(crate) fn crowd_role(address: &str, count: &str) -> ExitCode {
    let said = || -> Result<()> {
        for _ in 0..count.parse::<u32>()? {
            UdpSocket::bind("0.0.0.0:0")?.send_to(b"hello", address)?;
            // So that a socket's buffer holds them all.
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    };
    match said() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{address}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Got by [`World::station`].
#[derive(Debug)]
pub(crate) struct Station<'w> {
    world: &'w World,
    process: Process<'w>,
    orders: String,
}

impl World {
    /// A UDP socket there, bound to `address`.
    pub(crate) fn station(&self, place: Place, address: &str) -> Result<Station<'_>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let orders = format!("/run/lab/station-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let process = self.spawn(
            place,
            &["/init", crate::ROLE, STATION, address, &orders],
            &[],
        )?;
        until("a station", LIMIT, || {
            Ok(UnixStream::connect(self.path(&orders)).ok().map(drop))
        })
        .with_context(|| process.stderr().unwrap_or_default())?;
        Ok(Station {
            world: self,
            process,
            orders,
        })
    }
}

impl Station<'_> {
    /// Sends one datagram. A destination that is out of reach is no error.
    pub(crate) fn say(&self, to: SocketAddr, text: &str) -> Result<()> {
        let mut stream = UnixStream::connect(self.world.path(&self.orders))?;
        let say = serde_json::to_string(&Say {
            to,
            text: text.to_owned(),
        })?;
        stream.write_all(format!("{say}\n").as_bytes())?;
        // Its end is the sign that the datagram is on its way.
        std::io::copy(&mut stream, &mut std::io::sink())?;
        Ok(())
    }

    /// Everything that came so far.
    pub(crate) fn heard(&self) -> Result<Vec<Heard>> {
        let text = self.process.stdout()?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect()
    }

    /// Says this again and again until the other one has heard it, and returns what
    /// that heard.
    pub(crate) fn reaches(&self, to: SocketAddr, other: &Station, text: &str) -> Result<Heard> {
        let begun = Instant::now();
        while begun.elapsed() < LIMIT {
            self.say(to, text)?;
            let again = Instant::now();
            while again.elapsed() < AGAIN {
                let mut heard = other.heard()?.into_iter();
                if let Some(found) = heard.find(|heard| heard.text == text) {
                    return Ok(found);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        bail!("{text:?} to {to} did not arrive within {LIMIT:?}")
    }
}
