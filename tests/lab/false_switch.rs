//! A switch that is not as it should be, or the real one, behind the Unix socket of
//! `wslmesh tunnel run --connect`.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::agent::LIMIT;
use crate::options::RELAY;
use crate::process::Process;
use crate::topology::Place;
use crate::world::{World, until};

/// `@false-switch SOCKET HOW`.
pub(crate) const FALSE_SWITCH: &str = "@false-switch";

/// Runs the role [`FALSE_SWITCH`]: one line for each connection.
pub(crate) fn role(socket: &str, how: &str) -> ExitCode {
    if let Err(error) = serve(socket, how) {
        eprintln!("{socket}: {error:#}");
    }
    ExitCode::FAILURE
}

fn serve(socket: &str, how: &str) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    for stream in listener.incoming() {
        println!("a connection");
        // One that the guest closes early is no failure.
        drop(one(stream?, how));
    }
    Ok(())
}

fn message(body: &str) -> Result<Vec<u8>> {
    let length = u32::try_from(body.len())? | 1 << 31;
    Ok([&length.to_be_bytes(), body.as_bytes()].concat())
}

fn hello(version: u32) -> Result<Vec<u8>> {
    let body = serde_json::json!({
        "message": "hello", "version": version, "program": "0.0.0-false", "ipv6": false,
    });
    message(&body.to_string())
}

fn one(mut stream: UnixStream, how: &str) -> Result<()> {
    let version = wslmesh_relay::link::VERSION;
    match how {
        "real" => {
            let (input, output) = (stream.try_clone()?, stream);
            let mut child = Command::new(RELAY)
                .arg("switch")
                .stdin(OwnedFd::from(input))
                .stdout(OwnedFd::from(output))
                .spawn()?;
            child.wait()?;
            return Ok(());
        }
        "silent" => {}
        "other-version" => stream.write_all(&hello(version + 1)?)?,
        "garbage" => stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")?,
        "garbage-later" => {
            stream.write_all(&hello(version)?)?;
            // Once it is asked for a sign of life.
            stream.read_exact(&mut [0; 4096][..1])?;
            stream.write_all(&[0, 0, 0, 1, 0])?;
        }
        "floods" => {
            stream.write_all(&hello(version)?)?;
            let pongs = message(r#"{"message":"pong","id":0}"#)?.repeat(10_000);
            stream.write_all(&pongs)?;
        }
        other => bail!("no such way: {other}"),
    }
    // Until the guest has enough of it.
    std::io::copy(&mut stream, &mut std::io::sink())?;
    Ok(())
}

impl World {
    /// Starts one in Windows' network, and gives the socket.
    pub(crate) fn false_switch(&self, how: &str) -> Result<(Process<'_>, String)> {
        let socket = format!("/run/lab/switch-{how}");
        let argv = ["/init", crate::ROLE, FALSE_SWITCH, &socket, how];
        let process = self.spawn(Place::Windows, &argv, &[])?;
        until("its socket", LIMIT, || {
            Ok(self.path(&socket).exists().then_some(()))
        })
        .with_context(|| process.stderr().unwrap_or_default())?;
        Ok((process, socket))
    }
}
