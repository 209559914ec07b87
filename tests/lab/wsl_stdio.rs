//! What WSL puts between a Linux process and the standard streams of a Windows program, after
//! its sources: /init copies all of them in one thread, 4 KiB at a time, and its writes
//! block; on Windows a thread each copies between the hvsocket, which a Unix socket plays
//! here, and an anonymous pipe of 4 KiB.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, poll};

/// `@wsl-stdio PROGRAM...`.
pub(crate) const WSL_STDIO: &str = "@wsl-stdio";

const SIZE: usize = 4096;

/// Runs the role [`WSL_STDIO`] until one of the streams closes.
pub(crate) fn role(argv: &[&str]) -> ExitCode {
    match run(argv) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{argv:?}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(argv: &[&str]) -> Result<()> {
    let (program, arguments) = argv.split_first().context("no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let input = OwnedFd::from(child.stdin.take().context("no standard input")?);
    let output = OwnedFd::from(child.stdout.take().context("no standard output")?);
    rustix::pipe::fcntl_setpipe_size(&input, SIZE)?;
    rustix::pipe::fcntl_setpipe_size(&output, SIZE)?;
    let (mut orders, orders_there) = UnixStream::pair()?;
    let (answers, answers_there) = UnixStream::pair()?;
    thread(orders_there, File::from(input));
    thread(File::from(output), answers_there);
    let mut answers = answers;
    // Those of std have buffers, of which poll(2) knows nothing.
    let mut from = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let mut to = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    loop {
        let ready = {
            let mut both = [
                PollFd::new(&from, PollFlags::IN),
                PollFd::new(&answers, PollFlags::IN),
            ];
            poll(&mut both, None)?;
            both.map(|one| !one.revents().is_empty())
        };
        let ended = match ready {
            [true, false] => !copy(&mut from, &mut orders),
            [false, true] => !copy(&mut answers, &mut to),
            [true, true] => !copy(&mut from, &mut orders) || !copy(&mut answers, &mut to),
            [false, false] => false,
        };
        if ended {
            drop((orders, answers));
            child.wait()?;
            return Ok(());
        }
    }
}

fn thread(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    std::thread::spawn(move || while copy(&mut from, &mut to) {});
}

/// One piece; whether there may be more.
fn copy(from: &mut impl Read, to: &mut impl Write) -> bool {
    let mut buffer = [0; SIZE];
    let read = from.read(&mut buffer).unwrap_or(0);
    let piece = buffer.get(..read).unwrap_or_default();
    read > 0 && to.write_all(piece).and_then(|()| to.flush()).is_ok()
}
