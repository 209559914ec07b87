//! System calls that fail, by strace(1): of a command from its start, or of an agent
//! that runs.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::agent::LIMIT;
use crate::launch::Unavailable;
use crate::options::AGENT;
use crate::process::{Output, Process, TERM};
use crate::world::{World, until};

/// What strace of each call wrote, without that of programs that the agent starts.
fn options(trace: &str) -> Vec<String> {
    // Not the children's own: -b detaches as soon as one of them becomes another program.
    let options = ["strace", "-f", "-qq", "-y", "-b", "execve", "-s", "0", "-o"];
    let options = options.iter().copied().chain([trace]);
    options.map(str::to_owned).collect()
}

/// One call of a traced program.
#[derive(Debug)]
pub(crate) struct Call {
    /// Its name.
    pub(crate) name: String,
    /// Which one of this name it is in its thread, from 1, as strace counts.
    pub(crate) number: usize,
    /// The line, with the paths of descriptors.
    pub(crate) line: String,
}

/// The calls in what strace wrote.
fn calls(text: &str) -> Vec<Call> {
    let mut counts = BTreeMap::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let name = call.trim_start().split('(').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // Ends of threads, signals, and the rest of a call that was interrupted.
        if name.is_empty() || !name.chars().all(plain) {
            continue;
        }
        let count = counts.entry((thread.to_owned(), name.to_owned()));
        let count = count.and_modify(|count| *count += 1).or_insert(1);
        found.push(Call {
            name: name.to_owned(),
            number: *count,
            line: line.to_owned(),
        });
    }
    found
}

impl World {
    /// Whether system calls can be made to fail here.
    ///
    /// The error is [`Unavailable`] without strace, or where the kernel refuses ptrace.
    pub(crate) fn has_strace(&self) -> Result<()> {
        let lacks = |why: String| -> anyhow::Error {
            Unavailable(format!("strace is needed, and ptrace for it: {why}")).into()
        };
        let inject = "inject=getppid:error=EIO";
        let tried = self.guest(&["strace", "-f", "-qq", "-e", inject, "true"]);
        match tried {
            Ok(output) if output.success() => Ok(()),
            Ok(output) => Err(lacks(output.stderr)),
            Err(error) => Err(lacks(format!("{error:#}"))),
        }
    }

    /// Runs the agent's program to its end under strace, after a line of `sh`, and gives
    /// what it left and its calls. `inject` is strace's expression, or empty.
    pub(crate) fn traced(
        &self,
        before: &str,
        inject: &str,
        arguments: &[&str],
    ) -> Result<(Output, Vec<Call>)> {
        let trace = "/run/lab/trace";
        let mut argv = options(trace);
        if let Some((call, _)) = inject.split_once(':') {
            let more = [format!("trace={call}"), format!("inject={inject}")];
            argv.extend(more.into_iter().flat_map(|one| ["-e".to_owned(), one]));
        }
        argv.push(AGENT.to_owned());
        argv.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let script = format!("{before}\nexec \"$@\"");
        let shell = ["sh", "-ec", &script, "sh"];
        let argv: Vec<&str> = shell
            .into_iter()
            .chain(argv.iter().map(String::as_str))
            .collect();
        let output = self.guest(&argv)?;
        let text = fs::read(self.path(trace)).context("reading what strace wrote")?;
        Ok((output, calls(&String::from_utf8_lossy(&text))))
    }

    /// Makes calls of a running process fail until this is dropped; `inject` is strace's
    /// expression, such as `fsync:error=EIO`.
    pub(crate) fn inject(&self, pid: u32, inject: &str) -> Result<Injection<'_>> {
        let trace = format!("/run/lab/trace-{pid}");
        let mut argv = options(&trace);
        let (call, _) = inject.split_once(':').context("no call")?;
        let pid = pid.to_string();
        let more = ["-e", &format!("trace={call}"), "-e"];
        argv.extend(more.iter().map(|one| (*one).to_owned()));
        argv.extend([format!("inject={inject}"), "-p".to_owned(), pid]);
        // It says when it is attached, but not when it is to be quiet.
        argv.retain(|one| one != "-qq");
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let strace = self.spawn_guest(&argv, &[])?;
        until("strace", LIMIT, || {
            let said = strace.stderr()?;
            if strace.wait(std::time::Duration::ZERO)?.is_some() {
                bail!("strace ended: {said}")
            }
            Ok(said.contains(" attached").then_some(()))
        })?;
        Ok(Injection {
            world: self,
            strace,
            trace,
        })
    }
}

/// Calls that fail; until this is dropped.
#[derive(Debug)]
pub(crate) struct Injection<'w> {
    world: &'w World,
    strace: Process<'w>,
    trace: String,
}

impl Injection<'_> {
    /// How many calls of this kind were made so far.
    pub(crate) fn seen(&self) -> Result<usize> {
        Ok(self.world.read(&self.trace)?.lines().count())
    }

    /// Lets the calls succeed again.
    pub(crate) fn end(self) -> Result<()> {
        self.strace.signal(TERM)?;
        let ended = self.strace.wait(LIMIT)?;
        ensure!(ended.is_some(), "strace goes on");
        Ok(())
    }
}
