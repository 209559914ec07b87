//! The stand-in for WSL's `/init`: the interpreter of Windows programs, and
//! `wslinfo` and `wslpath` by the name it is called.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::interop::{SOCKET, drive_letter};
use crate::root::ACCEPT_FILE;
use crate::wire::{self, Hello, Kind};

/// The distribution's name, as in `\\wsl.localhost\Lab\`.
pub(crate) const DISTRIBUTION: &str = "Lab";
/// What `wslinfo --version` prints.
pub(crate) const VERSION: &str = "2.6.3.0";

fn fail(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::FAILURE
}

/// Connects like WSL's own client: `$WSL_INTEROP` when that path exists, else
/// PID 1's socket.
fn connect() -> std::io::Result<UnixStream> {
    let path = std::env::var_os("WSL_INTEROP")
        .map(PathBuf::from)
        .filter(|p| p.exists());
    UnixStream::connect(path.unwrap_or_else(|| PathBuf::from(SOCKET)))
}

/// Says what is wanted and waits for Windows to take it up.
fn open(hello: &Hello) -> Result<(UnixStream, Vec<u8>), String> {
    let refused = |e: std::io::Error| {
        format!(
            "<3>WSL ERROR: UtilConnectUnix: connect failed {}",
            e.raw_os_error().unwrap_or(0)
        )
    };
    let timed_out = |_| "<3>WSL ERROR: UtilAcceptVsock: accept4 failed 110".to_owned();
    let mut stream = connect().map_err(refused)?;
    let milliseconds = std::fs::read_to_string(ACCEPT_FILE)
        .ok()
        .and_then(|t| t.trim().parse().ok());
    let deadline = Duration::from_millis(milliseconds.unwrap_or(10_000));
    stream.set_read_timeout(Some(deadline)).map_err(refused)?;
    let hello = serde_json::to_vec(hello).map_err(|e| e.to_string())?;
    wire::send(&mut stream, Kind::Hello, &hello).map_err(refused)?;
    let (_, answer) = wire::receive(&mut stream).map_err(timed_out)?;
    stream.set_read_timeout(None).map_err(refused)?;
    Ok((stream, answer))
}

/// `wslinfo [--networking-mode | --version] [-n]`
pub(crate) fn wslinfo(arguments: &[String]) -> ExitCode {
    let newline = if arguments.iter().any(|a| a == "-n") {
        ""
    } else {
        "\n"
    };
    let mut rest = arguments.iter().filter(|a| *a != "-n").map(String::as_str);
    match (rest.next(), rest.next()) {
        (Some("--version" | "--wsl-version"), None) => print!("{VERSION}{newline}"),
        (Some("--networking-mode"), None) => match open(&Hello::NetworkingMode) {
            Ok((_, answer)) => print!("{}{newline}", String::from_utf8_lossy(&answer)),
            Err(why) => return fail(&why),
        },
        _ => return fail("Invalid command line arguments: wslinfo"),
    }
    ExitCode::SUCCESS
}

/// `wslpath -w PATH`
pub(crate) fn wslpath(arguments: &[String]) -> ExitCode {
    let [option, path] = arguments else {
        return fail("wslpath: expected -w PATH");
    };
    if option != "-w" {
        return fail("wslpath: only -w is known to the lab");
    }
    match Path::new(path).canonicalize() {
        Ok(path) => {
            println!("{}", to_windows(&path));
            ExitCode::SUCCESS
        }
        Err(_) => fail(&format!("wslpath: {path}: No such file or directory")),
    }
}

fn to_windows(path: &Path) -> String {
    let text = path.to_string_lossy();
    match drive_letter(&text) {
        Some((letter, rest)) => format!(
            "{}:{}",
            letter.to_ascii_uppercase(),
            rest.replace('/', "\\")
        ),
        None => format!(
            "\\\\wsl.localhost\\{DISTRIBUTION}{}",
            text.replace('/', "\\")
        ),
    }
}

/// The interpreter of MZ files: `[/init, full path, argv0, arguments...]`.
pub(crate) fn interpreter(arguments: &[String]) -> ExitCode {
    let [exe, argv @ ..] = arguments else {
        return fail("/init: nothing to start");
    };
    if argv.is_empty() {
        return fail("/init: the name of the program is missing");
    }
    let cwd = std::env::current_dir()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();
    let exe = Path::new(exe)
        .canonicalize()
        .map_or_else(|_| exe.clone(), |p| p.to_string_lossy().into_owned());
    match open(&Hello::Start {
        exe,
        argv: argv.to_vec(),
        cwd,
    }) {
        Ok((stream, _)) => relay(stream),
        Err(why) => fail(&why),
    }
}

fn relay(mut stream: UnixStream) -> ExitCode {
    if let Ok(writer) = stream.try_clone() {
        std::thread::spawn(move || forward_input(writer));
    }
    loop {
        let done = match wire::receive(&mut stream) {
            Ok((Kind::Output, bytes)) => std::io::stdout()
                .write_all(&bytes)
                .and_then(|()| std::io::stdout().flush()),
            Ok((Kind::Error, bytes)) => std::io::stderr().write_all(&bytes),
            Ok((Kind::Exit, code)) => {
                // Only the low 8 bits of a Windows exit code reach the caller.
                // Ends at once: a read from standard input may still be waiting.
                std::process::exit(code.last().copied().map_or(1, i32::from))
            }
            Ok((Kind::Hello | Kind::Input | Kind::Started, _)) => Ok(()),
            Err(_) => return fail("<3>WSL ERROR: lost the Windows side"),
        };
        if done.is_err() {
            return ExitCode::FAILURE;
        }
    }
}

fn forward_input(mut to: UnixStream) {
    let mut from = std::io::stdin().lock();
    let mut buffer = [0; 65_536];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let bytes = buffer.get(..read).unwrap_or_default();
        if wire::send(&mut to, Kind::Input, bytes).is_err() || read == 0 {
            return;
        }
    }
}
