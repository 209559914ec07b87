//! What tailscaled is asked, by a stand-in: untested with the real one.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use crate::agent::{Agent, LIMIT, SSH, Setup, config};
use crate::options::Options;
use crate::runner::trial_with;
use crate::test_doctor::usual;
use crate::topology::{FIRST, GUEST_ADDRESS, SECOND, THIRD};
use crate::world::{World, until};

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![trial_with(
        "tailscale::is_asked",
        Options::quick(),
        tailscaled,
    )]
}

/// A stand-in for tailscaled: how it answers, and what it was asked.
#[derive(Default)]
struct StandIn {
    hangs: AtomicBool,
    refuses: AtomicBool,
    over: AtomicBool,
    asked: Mutex<Vec<String>>,
}

impl StandIn {
    fn take(&self, mut client: UnixStream, held: &mut Vec<UnixStream>) -> Result<()> {
        client.set_nonblocking(false)?;
        client.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut request = vec![0; 4096];
        let length = client.read(&mut request)?;
        let text = String::from_utf8_lossy(request.get(..length).unwrap_or_default());
        let (_, rest) = text.split_once("action=").context("no action")?;
        ensure!(text.starts_with("POST /localapi/v0/debug?") && text.ends_with("\r\n\r\n"));
        let action = rest.split(' ').next().unwrap_or_default().to_owned();
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(action);
        }
        if self.hangs.load(Ordering::Relaxed) {
            held.push(client);
        } else if self.refuses.load(Ordering::Relaxed) {
            client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\ndebug access denied\n")?;
        } else {
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ndone\n")?;
        }
        Ok(())
    }

    fn serve(&self, listener: &UnixListener) {
        let mut held = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            if let Ok((client, _)) = listener.accept() {
                drop(self.take(client, &mut held));
            }
            if !self.hangs.load(Ordering::Relaxed) {
                held.clear();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .map(|asked| asked.clone())
            .unwrap_or_default()
    }
}

/// It is told of a new address; one that hangs or refuses is no hindrance.
fn tailscaled(world: &World) -> Result<()> {
    usual(world)?;
    let _server = world.name_server("10.255.255.254", "noerror")?;
    world.shell("mkdir -p /run/tailscale")?;
    let setup = Setup {
        env: &[("WSLMESH_LOG", "debug")],
        ..Setup::default()
    };
    let agent = world.start_agent_with(&config(SSH), &setup)?;
    agent.settled(FIRST)?;
    // Without one.
    world.change_address(&format!("{SECOND}/20"))?;
    agent.settled(SECOND)?;
    let listener = UnixListener::bind(world.path("/run/tailscale/tailscaled.sock"))?;
    listener.set_nonblocking(true)?;
    let daemon = StandIn::default();
    std::thread::scope(|scope| {
        scope.spawn(|| daemon.serve(&listener));
        let result = with_tailscaled(world, &agent, &daemon);
        daemon.over.store(true, Ordering::Relaxed);
        result
    })
    .with_context(|| agent.log().unwrap_or_default())?;
    agent.stop()
}

fn with_tailscaled(world: &World, agent: &Agent, daemon: &StandIn) -> Result<()> {
    let was_asked = |expected: &[&str]| {
        until(&format!("{expected:?}"), LIMIT, || {
            Ok((daemon.asked() == expected).then_some(()))
        })
        .with_context(|| format!("{:?}", daemon.asked()))
    };
    world.change_address(&format!("{THIRD}/20"))?;
    agent.settled(THIRD)?;
    was_asked(&["restun"])?;
    agent.says("tailscaled looks at the network again")?;
    daemon.hangs.store(true, Ordering::Relaxed);
    world.change_address(GUEST_ADDRESS)?;
    agent.settled(FIRST)?;
    was_asked(&["restun", "restun"])?;
    agent.says("no answer within 2s")?;
    for (address, bare) in [(SECOND, SECOND), (THIRD, THIRD)] {
        world.change_address(&format!("{address}/20"))?;
        agent.settled(bare)?;
    }
    was_asked(&["restun", "restun"]).context("a second call while the first one hangs")?;
    daemon.refuses.store(true, Ordering::Relaxed);
    daemon.hangs.store(false, Ordering::Relaxed);
    was_asked(&["restun"; 3])?;
    until("a refusal", LIMIT, || {
        let log = agent.log()?;
        Ok(log
            .contains("it answered 403 debug access denied")
            .then_some(()))
    })?;
    let said = agent.log()?;
    let lines = said
        .lines()
        .filter(|line| line.contains("tailscaled does not look"));
    let news = lines
        .filter(|line| !line.to_lowercase().contains("debug "))
        .count();
    ensure!(news <= 1, "{said}");
    daemon.refuses.store(false, Ordering::Relaxed);
    world.link_down()?;
    agent.wait("the loss", |status| status.address.is_none())?;
    // Longer than an agent takes for a flap of mirrored mode.
    std::thread::sleep(Duration::from_secs(6));
    world.link_up(GUEST_ADDRESS)?;
    agent.wait("the recovery", |status| status.resumed.is_some())?;
    until("both", LIMIT, || {
        let asked = daemon.asked();
        let rebinds = asked.windows(2).any(|two| two == ["rebind", "restun"]);
        Ok(rebinds.then_some(()))
    })
    .with_context(|| format!("{:?}", daemon.asked()))?;
    ensure!(agent.healthy()?.problems().is_empty());
    Ok(())
}
