//! A world as a test holds it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::control::{Reply, Request, SOCKET, Start};
use crate::launch::{Facts, LAUNCHER, Report, Unavailable};
use crate::options::{AGENT, Options};
use crate::process::{Output, Process};
use crate::topology::Place;
use crate::windows::Windows;

/// How long a command that is waited for may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A simulated WSL. Everything in it ends when this is dropped, or when the
/// test's process ends in whatever way.
#[derive(Debug)]
pub(crate) struct World {
    launcher: Child,
    facts: Facts,
    root: PathBuf,
}

impl World {
    /// Builds one. The error is [`Unavailable`] when this machine does not
    /// allow it.
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let mut launcher = Command::new("/proc/self/exe")
            .arg0("wslmesh-lab")
            .arg(LAUNCHER)
            .arg(serde_json::to_string(options)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the world")?;
        let out = launcher
            .stdout
            .take()
            .context("the world has no standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let root = PathBuf::from(format!("/proc/{}/root", launcher.id()));
        let mut world = Self {
            launcher,
            facts: Facts::default(),
            root,
        };
        match serde_json::from_str(&line).with_context(|| format!("the world said {line:?}"))? {
            Report::Ready(facts) => {
                world.facts = facts;
                if options.mode != "nat" {
                    world.request_mode(&options.mode)?;
                }
                Ok(world)
            }
            Report::Unavailable(why) => Err(Unavailable(why).into()),
            Report::Failed(why) => bail!("the world could not be built: {why}"),
        }
    }

    /// What `.wslconfig` asks for.
    pub(crate) fn request_mode(&self, mode: &str) -> Result<()> {
        let text = format!("[wsl2]\r\nnetworkingMode={mode}\r\n");
        self.write("/mnt/c/Users/me/.wslconfig", text)
    }

    /// WSL is started again in another networking mode, as `.wslconfig` asks for.
    pub(crate) fn switch_mode(&self, mode: &str) -> Result<()> {
        self.request_mode(mode)?;
        self.windows().set_networking_mode(mode)
    }

    /// Whether Windows programs start through binfmt_misc. Before Linux 6.7
    /// they do not, and `/init` must be called directly.
    pub(crate) fn binfmt(&self) -> bool {
        self.facts.binfmt
    }

    /// Whether `wslinfo` and `wslpath` are in /usr/bin, as in WSL. Else
    /// `/init` must be called by those names.
    pub(crate) fn tools(&self) -> bool {
        self.facts.tools
    }

    /// A path of the world as the test can open it, while the world lives.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Reads a file of the world.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Result<String> {
        let path = path.as_ref();
        std::fs::read_to_string(self.path(path))
            .with_context(|| format!("reading {}", path.display()))
    }

    /// Writes a file of the world, with the folders above it.
    pub(crate) fn write(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<()> {
        let path = path.as_ref();
        let to = self.path(path);
        std::fs::create_dir_all(to.parent().context("no parent folder")?)?;
        std::fs::write(to, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Asks the world's server.
    pub(crate) fn ask(&self, request: &Request) -> Result<Reply> {
        let mut stream =
            UnixStream::connect(self.path(SOCKET)).context("the world does not answer")?;
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let reply =
            serde_json::from_str(&text).with_context(|| format!("the world said {text:?}"))?;
        if let Reply::Failed(why) = reply {
            return Err(anyhow!(why));
        }
        Ok(reply)
    }

    /// Starts a command, without waiting for its end.
    pub(crate) fn spawn(
        &self,
        place: Place,
        argv: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Process<'_>> {
        self.spawn_with(Start {
            place,
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: env
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            cwd: "/".to_owned(),
            stdin: Vec::new(),
        })
    }

    /// Starts a command described in full.
    pub(crate) fn spawn_with(&self, start: Start) -> Result<Process<'_>> {
        let Reply::Started { id, pid } = self.ask(&Request::Start(start))? else {
            bail!("the world gave another answer")
        };
        Ok(Process::new(self, id, pid))
    }

    /// Starts a command in the guest.
    pub(crate) fn spawn_guest(&self, argv: &[&str], env: &[(&str, &str)]) -> Result<Process<'_>> {
        self.spawn(Place::Guest, argv, env)
    }

    /// Starts the agent in the guest with these arguments.
    pub(crate) fn agent(&self, arguments: &[&str]) -> Result<Process<'_>> {
        let argv: Vec<&str> = std::iter::once(AGENT)
            .chain(arguments.iter().copied())
            .collect();
        self.spawn_guest(&argv, &[])
    }

    /// Runs a command to its end, [`TIMEOUT`] at most.
    pub(crate) fn run(&self, place: Place, argv: &[&str], stdin: &[u8]) -> Result<Output> {
        let process = self.spawn_with(Start {
            place,
            argv: argv.iter().map(|a| (*a).to_owned()).collect(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            stdin: stdin.to_vec(),
        })?;
        process.finish(TIMEOUT).with_context(|| argv.join(" "))
    }

    /// Runs a command in the guest.
    pub(crate) fn guest(&self, argv: &[&str]) -> Result<Output> {
        self.run(Place::Guest, argv, b"")
    }

    /// Runs a line of `sh` in the guest, which must succeed, and returns its output.
    pub(crate) fn shell(&self, script: &str) -> Result<String> {
        self.guest(&["sh", "-ec", script])?.ok()
    }

    /// Runs a command in the windows namespace (a Linux command: to look at or
    /// change its network).
    pub(crate) fn host(&self, argv: &[&str]) -> Result<Output> {
        self.run(Place::Windows, argv, b"")
    }

    /// Runs a command on the home network.
    pub(crate) fn lan(&self, argv: &[&str]) -> Result<Output> {
        self.run(Place::Lan, argv, b"")
    }

    /// The simulated Windows.
    pub(crate) fn windows(&self) -> Windows<'_> {
        Windows::new(self)
    }

    /// The launcher's process id outside: `/proc/<it>` shows the world.
    pub(crate) fn launcher_id(&self) -> u32 {
        self.launcher.id()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.launcher.stdin.take());
        let begun = Instant::now();
        while !matches!(self.launcher.try_wait(), Ok(Some(_)) | Err(_)) {
            if begun.elapsed() > TIMEOUT {
                // Takes PID 1 with it, and so everything.
                drop(self.launcher.kill());
                drop(self.launcher.wait());
                return;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
    }
}

/// Looks every few milliseconds until `look` finds something; `what` is the
/// name of the thing when it does not come within `limit`.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begun.elapsed() > limit {
            bail!("{what} did not come within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
