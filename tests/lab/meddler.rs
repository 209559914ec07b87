//! A control socket in front of wireguard-go's, which lets something happen at
//! the one moment that no clock hits: after the agent has read a device and
//! before its settings arrive.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::agent::LIMIT;
use crate::world::{World, until};

/// Runs `body` while `meddle` happens before the first settings that anybody
/// sends to the device's daemon. An error when none were sent.
pub(crate) fn between_reading_and_setting<T>(
    world: &World,
    name: &str,
    meddle: impl Fn() -> Result<()> + Sync,
    body: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let shown = world.path(format!("/run/wireguard/{name}.sock"));
    let real = world.path(format!("/run/lab/{name}.sock"));
    std::fs::rename(&shown, &real).context("moving the daemon's socket")?;
    let listener = UnixListener::bind(&shown)?;
    listener.set_nonblocking(true)?;
    let (done, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let result = std::thread::scope(|scope| {
        let serve = || {
            while !over.load(Ordering::Relaxed) {
                if let Ok((client, _)) = listener.accept() {
                    // A thread each: what meddles may use the socket itself.
                    scope.spawn(|| pass_on(client, &real, &done, &meddle));
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        };
        scope.spawn(serve);
        let result = body().and_then(|result| {
            until("settings for the device", LIMIT, || {
                Ok(done.load(Ordering::Relaxed).then_some(()))
            })?;
            Ok(result)
        });
        over.store(true, Ordering::Relaxed);
        result
    });
    // A daemon that has ended took its socket with it.
    if real.exists() {
        std::fs::rename(&real, &shown)?;
    }
    result
}

fn pass_on(
    client: UnixStream,
    real: &Path,
    done: &AtomicBool,
    meddle: &(impl Fn() -> Result<()> + Sync),
) -> Result<()> {
    let mut client = client;
    client.set_nonblocking(false)?;
    let request = until_blank_line(&mut client)?;
    if request.starts_with(b"set=1\n") && !done.swap(true, Ordering::Relaxed) {
        meddle()?;
    }
    let mut daemon = UnixStream::connect(real)?;
    daemon.write_all(&request)?;
    let answer = until_blank_line(&mut daemon)?;
    client.write_all(&answer)?;
    Ok(())
}

/// One request or answer: up to the first empty line.
fn until_blank_line(from: &mut UnixStream) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut buffer = [0; 65_536];
    while !text.ends_with(b"\n\n") {
        let read = from.read(&mut buffer)?;
        ensure!(read > 0, "it ended in the middle");
        text.extend(buffer.get(..read).unwrap_or_default());
    }
    Ok(text)
}
