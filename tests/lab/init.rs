//! The stand-in for WSL's `/init`: the interpreter of Windows programs, and
//! `wslinfo` and `wslpath` by the name it is called.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::interop::{SOCKET, drive_letter};
use crate::root::ACCEPT_FILE;
use crate::wire::{self, Hello, Kind};

/// The distribution's name, as in `\\wsl.localhost\Lab\`.
pub(crate) const DISTRIBUTION: &str = "Lab";
/// The virtual machine's identity, which the lab's Windows does not ask for.
const VM: &str = "00e4ca12-bde0-4007-8a83-01d1d6dae2c9";
/// What `wslinfo --version` prints.
pub(crate) const VERSION: &str = "2.6.3.0";

fn fail(text: &str) -> ExitCode {
    eprintln!("{text}");
    ExitCode::FAILURE
}

/// A message as WSL's init writes it: level, process and thread, function and line.
fn message(place: &str, what: &str) -> String {
    format!("<3>WSL ({} - ) ERROR: {place}: {what}", std::process::id())
}

/// Connects like WSL's own client: `$WSL_INTEROP` when that path exists, else PID 1's
/// socket.
fn connect() -> Result<UnixStream, String> {
    let path = std::env::var_os("WSL_INTEROP")
        .map(PathBuf::from)
        .filter(|p| p.exists());
    connect_to(&path.unwrap_or_else(|| PathBuf::from(SOCKET)))
}

fn connect_to(path: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(path).map_err(|e| {
        let code = e.raw_os_error().unwrap_or(0);
        message("UtilConnectUnix:543", &format!("connect failed {code}"))
    })
}

/// Asks init itself and waits without limit.
fn ask(mut stream: UnixStream, question: &Hello) -> Result<String, String> {
    let question = serde_json::to_vec(question).map_err(|e| e.to_string())?;
    wire::send(&mut stream, Kind::Hello, &question).map_err(|e| e.to_string())?;
    let (_, answer) = wire::receive(&mut stream).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Says what is to be started and waits for Windows to come back.
fn open(hello: &Hello) -> Result<UnixStream, String> {
    let begun = Instant::now();
    let mut stream = connect()?;
    let milliseconds = std::fs::read_to_string(ACCEPT_FILE)
        .ok()
        .and_then(|t| t.trim().parse().ok());
    let deadline = Duration::from_millis(milliseconds.unwrap_or(10_000));
    stream
        .set_read_timeout(Some(deadline))
        .map_err(|e| e.to_string())?;
    let hello = serde_json::to_vec(hello).map_err(|e| e.to_string())?;
    let asked = wire::send(&mut stream, Kind::Hello, &hello);
    if asked.and_then(|()| wire::receive(&mut stream)).is_err() {
        // Windows comes by another way than the one that the question went, so a lost
        // question is noticed by waiting alone.
        std::thread::sleep(deadline.saturating_sub(begun.elapsed()));
        return Err(message("UtilAcceptVsock:281", "accept4 failed 110"));
    }
    stream.set_read_timeout(None).map_err(|e| e.to_string())?;
    Ok(stream)
}

/// `wslinfo [--networking-mode | --version | --vm-id] [-n]`
pub(crate) fn wslinfo(arguments: &[String]) -> ExitCode {
    let newline = if arguments.iter().any(|a| a == "-n") {
        ""
    } else {
        "\n"
    };
    let mut rest = arguments.iter().filter(|a| *a != "-n").map(String::as_str);
    match (rest.next(), rest.next()) {
        (Some("--version" | "--wsl-version"), None) => print!("{VERSION}{newline}"),
        (Some("--vm-id"), None) => print!("{VM}{newline}"),
        // By init's own socket, whatever WSL_INTEROP says.
        (Some("--networking-mode"), None) => {
            let asked = connect_to(Path::new(SOCKET));
            match asked.and_then(|stream| ask(stream, &Hello::NetworkingMode)) {
                Ok(mode) => print!("{mode}{newline}"),
                Err(why) => return fail(&why),
            }
        }
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
    // A file need not exist.
    let path = Path::new(path);
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match to_windows(&path) {
        Ok(path) => println!("{path}"),
        Err(why) => return fail(&why),
    }
    ExitCode::SUCCESS
}

/// Init knows the distribution's name; a drive's letter is in the table of mounts.
fn to_windows(path: &Path) -> Result<String, String> {
    let text = path.to_string_lossy();
    if let Some((letter, rest)) = drive_letter(&text) {
        let letter = letter.to_ascii_uppercase();
        return Ok(format!("{letter}:{}", rest.replace('/', "\\")));
    }
    let name = ask(connect()?, &Hello::Name)?;
    Ok(format!(
        "\\\\wsl.localhost\\{name}{}",
        text.replace('/', "\\")
    ))
}

/// The interpreter of MZ files: `[/init, full path, argv0, arguments...]`.
pub(crate) fn interpreter(arguments: &[String]) -> ExitCode {
    let [exe, argv @ ..] = arguments else {
        return fail("/init: nothing to start");
    };
    if argv.is_empty() {
        return fail("/init: the name of the program is missing");
    }
    let started = || {
        let cwd = std::env::current_dir().map_err(|e| e.to_string())?;
        let exe = Path::new(exe);
        let exe = exe.canonicalize().unwrap_or_else(|_| exe.to_owned());
        open(&Hello::Start {
            exe: to_windows(&exe)?,
            argv: argv.to_vec(),
            cwd: to_windows(&cwd)?,
        })
    };
    match started() {
        Ok(stream) => relay(stream),
        Err(why) => fail(&why),
    }
}

fn relay(mut stream: UnixStream) -> ExitCode {
    let mut exit = None;
    let (vanished, ended) = mpsc::channel();
    if let Ok(writer) = stream.try_clone() {
        std::thread::spawn(move || forward_input(writer, &ended));
    }
    loop {
        let done = match wire::receive(&mut stream) {
            Ok((Kind::Output, bytes)) => std::io::stdout()
                .write_all(&bytes)
                .and_then(|()| std::io::stdout().flush()),
            Ok((Kind::Error, bytes)) => std::io::stderr().write_all(&bytes),
            Ok((Kind::Exit, code)) => {
                // A Windows exit code has 32 bits, of which an exit status on Linux has
                // the lowest 8.
                exit = Some(code.last().copied().map_or(1, i32::from));
                Ok(())
            }
            Ok((Kind::Hello | Kind::Input | Kind::Started, _)) => Ok(()),
            Err(_) => {
                // Output ends when nothing holds it any more, be it a program that this
                // one started. A read from standard input may still be waiting.
                if let Some(code) = exit {
                    std::process::exit(code);
                }
                // A program that vanished without an exit code is not noticed, but where
                // more input comes for it.
                vanished.send(()).unwrap_or_default();
                loop {
                    std::thread::park();
                }
            }
        };
        if done.is_err() {
            return ExitCode::FAILURE;
        }
    }
}

fn forward_input(mut to: UnixStream, vanished: &mpsc::Receiver<()>) {
    let mut from = std::io::stdin().lock();
    let mut buffer = [0; 65_536];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let bytes = buffer.get(..read).unwrap_or_default();
        if wire::send(&mut to, Kind::Input, bytes).is_err() && vanished.recv().is_ok() {
            std::process::exit(1);
        }
        if read == 0 {
            return;
        }
    }
}
