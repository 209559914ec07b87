//! A server that closes, resets, stalls and echoes: what clients of a userspace network meet
//! in time. One port for each behaviour.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockRef, Socket, Type};

/// `@net-server ADDRESS`; its ports are in [`port`].
pub(crate) const NET_SERVER: &str = "@net-server";

/// What it prints once all of them listen.
pub(crate) const READY: &str = "ready";

/// What listens where.
pub(crate) mod port {
    /// One byte, then the end.
    pub(crate) const BANNER: u16 = 7000;
    /// Echoes, by TCP and by UDP.
    pub(crate) const ECHO: u16 = 7001;
    /// Reads to the end, then says how much it was and its checksum.
    pub(crate) const SINK: u16 = 7003;
    /// [`super::SOURCE`] bytes, then the end.
    pub(crate) const SOURCE: u16 = 7004;
    /// Resets the connection after its first byte.
    pub(crate) const RESET: u16 = 7005;
    /// Reads nothing.
    pub(crate) const NEVER_READS: u16 = 7006;
    /// Nothing listens here.
    pub(crate) const CLOSED: u16 = 7007;
    /// Reads to the end, then sends [`super::HALF`] bytes.
    pub(crate) const HALF: u16 = 7008;
    /// Sends without end and reads what comes.
    pub(crate) const BOTH_WAYS: u16 = 7009;
    /// How the last connection to the sink ended.
    pub(crate) const LAST_END: u16 = 7010;
}

/// Bytes that the source sends.
pub(crate) const SOURCE: usize = 8 << 20;
/// Bytes that are sent into a connection whose other half is closed.
pub(crate) const HALF: usize = 1 << 20;

/// So many bytes that repeat late.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0_u32;
    let next = || {
        state = state.wrapping_add(2_654_435_761);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The checksum that the sink states.
pub(crate) fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    bytes.iter().fold(sum, add)
}

/// As many open files as are allowed.
pub(crate) fn raise_files() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}

/// The next `close` resets the connection.
pub(crate) fn reset(stream: TcpStream) -> Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Runs the role [`NET_SERVER`].
pub(crate) fn role(address: &str) -> ExitCode {
    if let Err(error) = serve(address) {
        eprintln!("{address}: {error:#}");
    }
    ExitCode::FAILURE
}

/// Gives each connection a thread.
fn each(
    address: SocketAddr,
    serve: impl Fn(TcpStream) -> Result<()> + Send + Sync + 'static,
) -> Result<()> {
    // That of std has room for 128 connections.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    let (listener, serve) = (TcpListener::from(socket), Arc::new(serve));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            let thread = std::thread::Builder::new().stack_size(256 << 10);
            // A connection that fails is what some of them are for.
            drop(thread.spawn(move || serve(stream)));
        }
    });
    Ok(())
}

fn serve(address: &str) -> Result<()> {
    raise_files()?;
    let ip = address.parse()?;
    let at = |port| SocketAddr::new(ip, port);
    each(at(port::BANNER), |mut stream| Ok(stream.write_all(b"!")?))?;
    each(at(port::ECHO), |mut stream| {
        stream.set_nodelay(true)?;
        let mut buffer = [0; 16_384];
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            stream.write_all(buffer.get(..read).unwrap_or_default())?;
        }
    })?;
    let last = Arc::new(Mutex::new(String::new()));
    let end = Arc::clone(&last);
    each(at(port::SINK), move |mut stream| {
        let (mut total, mut sum) = (0, 0);
        let mut buffer = [0; 65_536];
        let how = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break "the end",
                Ok(read) => {
                    total += read;
                    sum = checksum(sum, buffer.get(..read).unwrap_or_default());
                }
                Err(_) => break "a reset",
            }
        };
        *end.lock().unwrap_or_else(PoisonError::into_inner) = format!("{total} bytes, then {how}");
        Ok(stream.write_all(format!("{total} {sum}").as_bytes())?)
    })?;
    each(at(port::LAST_END), move |mut stream| {
        let text = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(stream.write_all(text.as_bytes())?)
    })?;
    let source = pattern(SOURCE);
    each(at(port::SOURCE), move |mut stream| {
        stream.write_all(&source)?;
        // Closing with something unread would be a reset.
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    })?;
    each(at(port::RESET), |mut stream| {
        stream.read_exact(&mut [0])?;
        reset(stream)
    })?;
    each(at(port::NEVER_READS), |stream| {
        std::thread::sleep(Duration::from_secs(30));
        drop(stream);
        Ok(())
    })?;
    each(at(port::HALF), |mut stream| {
        stream.read_to_end(&mut Vec::new())?;
        Ok(stream.write_all(&vec![7; HALF])?)
    })?;
    each(at(port::BOTH_WAYS), |stream| {
        let mut reader = stream.try_clone()?;
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        let (bytes, mut writer) = ([5; 65_536], &stream);
        loop {
            writer.write_all(&bytes)?;
        }
    })?;
    let socket = UdpSocket::bind(at(port::ECHO))?;
    println!("{READY}");
    let mut buffer = [0; 65_536];
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // A client that is gone is its own affair.
            drop(socket.send_to(buffer.get(..length).unwrap_or_default(), from));
        }
    }
}
