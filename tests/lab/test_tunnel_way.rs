//! Which way packets of the tunnel go: they move from the standard streams while others are on
//! their way, or stay there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use wslmesh_relay::link::second::Place as At;
use wslmesh_relay::link::{self, Frame, Frames, FromSwitch, ToSwitch};

use crate::agent::LIMIT;
use crate::options::{Options, relay_binary};
use crate::process::INT;
use crate::runner::trial_with;
use crate::tunneled::{SERVER, Tunneled, is};
use crate::world::{World, until};

const SWITCH: &str = "/run/lab/switch";
const WAY: &str = "/run/lab/way";

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    let quick = |name: &str, body| trial_with(name, Options::quick(), body);
    vec![
        quick("tunnel::packets_move_while_others_pass", moves),
        quick("tunnel::packets_stay_where_no_connection_comes", late),
        quick("tunnel::packets_stay_without_a_vsock", without_vsock),
    ]
}

/// The relay as a switch behind a Unix socket, with what passes by the standard streams in
/// sight. The order to move waits for a word.
struct Between {
    switch: Child,
    seen: Arc<Seen>,
    /// Lets the order pass.
    word: mpsc::Sender<()>,
}

/// Packets by the standard streams, and those behind their end, which there must not be.
#[derive(Debug, Default)]
struct Seen {
    to_switch: AtomicU32,
    from_switch: AtomicU32,
    misplaced: AtomicU32,
    /// Messages behind the ends.
    messages: AtomicU32,
}

impl Drop for Between {
    fn drop(&mut self) {
        self.switch.kill().ok();
        self.switch.wait().ok();
    }
}

impl Between {
    fn start(world: &World) -> Result<Self> {
        let listener = UnixListener::bind(world.path(SWITCH))?;
        let mut switch = Command::new(relay_binary())
            .arg("switch")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = File::from(std::os::fd::OwnedFd::from(
            switch.stdin.take().context("no input")?,
        ));
        let from = std::os::fd::OwnedFd::from(switch.stdout.take().context("no output")?);
        let seen = Arc::new(Seen::default());
        let (word, waits) = mpsc::channel();
        let way = world.path(WAY);
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            let (guest, _) = listener.accept()?;
            let (answers, counts) = (guest.try_clone()?, Arc::clone(&shared));
            thread::spawn(move || from_switch(File::from(from), answers, &counts));
            let way = way.to_str().context("not UTF-8")?;
            to_switch(guest, to, &shared, &waits, way)
        });
        Ok(Self { switch, seen, word })
    }
}

/// Frames of one direction, until it ends.
fn frames(mut from: impl Read, mut each: impl FnMut(Frame<'_>) -> Result<()>) -> Result<()> {
    let mut frames = Frames::default();
    loop {
        while let Some(frame) = frames
            .next_frame()
            .map_err(|error| anyhow::anyhow!("{error}"))?
        {
            each(frame)?;
        }
        let read = from.read(frames.space())?;
        if read == 0 {
            return Ok(());
        }
        frames.filled(read);
    }
}

fn to_switch(
    guest: UnixStream,
    mut to: File,
    seen: &Seen,
    word: &mpsc::Receiver<()>,
    way: &str,
) -> Result<()> {
    let (mut held, mut moved) = (None, false);
    frames(guest, |frame| {
        let mut out = Vec::new();
        match frame {
            Frame::Packet(packet) => {
                let count = if moved {
                    &seen.misplaced
                } else {
                    &seen.to_switch
                };
                count.fetch_add(1, Ordering::Relaxed);
                link::put_packet(&mut out, packet);
            }
            Frame::Control(body) => {
                let message: ToSwitch =
                    link::message(body).map_err(|error| anyhow::anyhow!("{error}"))?;
                match message {
                    ToSwitch::Move { token, .. } => {
                        // The switch is not in the guest's root.
                        let path = way.to_owned();
                        held = Some(ToSwitch::Move {
                            to: At::Unix { path },
                            token,
                        });
                    }
                    message => {
                        seen.messages.fetch_add(moved.into(), Ordering::Relaxed);
                        moved |= message == ToSwitch::Moved;
                        link::put_message(&mut out, &message);
                    }
                }
            }
        }
        if held.is_some() && word.try_recv().is_ok() {
            link::put_message(&mut out, &held.take());
        }
        Ok(to.write_all(&out)?)
    })
}

fn from_switch(from: File, mut to: UnixStream, seen: &Seen) -> Result<()> {
    let mut moved = false;
    frames(from, |frame| {
        let mut out = Vec::new();
        match frame {
            Frame::Packet(packet) => {
                let count = if moved {
                    &seen.misplaced
                } else {
                    &seen.from_switch
                };
                count.fetch_add(1, Ordering::Relaxed);
                link::put_packet(&mut out, packet);
            }
            Frame::Control(body) => {
                let message: FromSwitch =
                    link::message(body).map_err(|error| anyhow::anyhow!("{error}"))?;
                seen.messages.fetch_add(moved.into(), Ordering::Relaxed);
                moved |= message == FromSwitch::Moved;
                link::put_message(&mut out, &message);
            }
        }
        Ok(to.write_all(&out)?)
    })
}

/// Pings of the gateway across the move: each answer comes, once and in its turn.
fn moves(world: &World) -> Result<()> {
    let between = Between::start(world)?;
    let count = |of: &AtomicU32| of.load(Ordering::Relaxed);
    let seen = &between.seen;
    // Those before the tunnel are lost.
    let pings = world.spawn_guest(&["ping", "-i", "0.002", "192.168.127.1"], &[])?;
    let tunnel = Tunneled::start(world, &["--connect", SWITCH, "--second-way", WAY])?;
    until("packets by the first way", LIMIT, || {
        Ok((count(&seen.from_switch) >= 10).then_some(()))
    })?;
    between.word.send(())?;
    let state = tunnel.state("a move", |state| is(state, "way", "unix-socket"))?;
    ensure!(state.get("way-reason").is_none(), "{state}");
    let numbers = || -> Result<Vec<u32>> {
        let said = pings.stdout()?;
        let number = |line: &str| {
            let (_, rest) = line.split_once(" bytes from ")?.1.split_once("icmp_seq=")?;
            rest.split(' ').next()?.parse().ok()
        };
        Ok(said.lines().filter_map(number).collect())
    };
    let by_first = count(&seen.from_switch) as usize;
    until("packets by the second way", LIMIT, || {
        Ok((numbers()?.len() > by_first + 50).then_some(()))
    })?;
    // A question for a sign of life and its answer: each half second.
    until("messages behind the move", LIMIT, || {
        Ok((count(&seen.messages) >= 2).then_some(()))
    })?;
    pings.signal(INT)?;
    pings.finish(LIMIT)?;
    let numbers = numbers()?;
    let mut pairs = numbers.iter().zip(numbers.iter().skip(1));
    let gap = pairs.find(|(one, next)| **one + 1 != **next);
    ensure!(
        gap.is_none(),
        "lost, doubled or out of turn: {gap:?} in {numbers:?}"
    );
    ensure!(numbers.len() > by_first, "{numbers:?}, {by_first}");
    ensure!(count(&seen.misplaced) == 0, "{seen:?}");
    let page = world.wslmesh(&["tunnel", "status"])?.ok()?;
    ensure!(page.contains("\nway     Unix socket\n"), "{page}");
    ensure!(!world.path(WAY).exists(), "it listens on");
    let log = tunnel.log()?;
    ensure!(
        log.matches("packets go by Unix socket").count() == 1,
        "{log}"
    );
    tunnel.stop()
}

fn late(world: &World) -> Result<()> {
    let between = Between::start(world)?;
    let tunnel = Tunneled::up(world, &["--connect", SWITCH, "--second-way", WAY])?;
    let begun = std::time::Instant::now();
    let why = "the switch did not connect within 1 s";
    let state = tunnel.state("a reason", |state| is(state, "way-reason", why))?;
    ensure!(is(&state, "way", "standard-streams"), "{state}");
    ensure!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    ensure!(!world.path(WAY).exists(), "it listens on");
    let page = world.wslmesh(&["tunnel", "status"])?.ok()?;
    let line = format!("\nway     standard streams: {why}\n");
    ensure!(page.contains(&line), "{page}");
    world
        .guest(&["ping", "-c3", "-i0.1", "-W2", "192.168.127.1"])?
        .ok()?;
    ensure!(between.seen.from_switch.load(Ordering::Relaxed) >= 3);
    let log = tunnel.log()?;
    ensure!(log.matches(why).count() == 1, "{log}");
    tunnel.stop()
}

/// A program of Windows, as ever; here Linux plays it, which has a vsock within the machine at
/// best.
fn without_vsock(world: &World) -> Result<()> {
    let _outside = world.nat_is_broken(false)?;
    let tunnel = Tunneled::up(world, &[])?;
    let state = tunnel.state("a decision", |state| {
        is(state, "way", "vsock") || state.get("way-reason").is_some()
    })?;
    let why = state.get("way-reason").and_then(|why| why.as_str());
    match std::path::Path::new("/sys/module/vsock_loopback").exists() {
        true => ensure!(why.is_none(), "{state}"),
        false => {
            let why = why.context("no reason")?;
            ensure!(why.contains("vsock"), "{state}");
        }
    }
    world.passes("close-down", SERVER)?;
    world.passes("close-up", SERVER)?;
    let log = tunnel.log()?;
    ensure!(!log.contains("token"), "{log}");
    tunnel.stop()
}
