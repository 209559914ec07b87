//! `--demo`: shows the agent through four address changes in a simulated WSL, the last one
//! with the port proxy instead of the relay.

mod screen;
mod stage;
mod unavailable;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use self::screen::{Row, Screen, mean, table};
use self::stage::{Expected, Stage};
use crate::agent::LIMIT;
use crate::launch::Unavailable;
use crate::options::{AGENT, Options};
use crate::runner::trial_alone;
use crate::topology::Place;
use crate::wireguard::WireGuard;
use crate::world::World;

/// This file's trials.
pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial_alone("demo::four_changes_survived", survives),
        trial_alone("demo::says_how_to_allow_worlds", unavailable::check),
    ]
}

/// Names a file for `wslmesh status` at the end of the demo (tools/pictures.py).
const STATUS: &str = "WSLMESH_DEMO_STATUS";

/// Runs the demo. It fails when anything that it shows did not work.
pub(crate) fn run() -> ExitCode {
    let mut screen = Screen::stdout();
    let Err(error) = show(&mut screen, &Options::default()) else {
        return ExitCode::SUCCESS;
    };
    // Both fail only when standard output is closed.
    drop(match error.downcast_ref() {
        Some(Unavailable(why)) => unavailable::explain(&mut screen, why),
        None => screen.failure(&format!("{error:#}")),
    });
    ExitCode::FAILURE
}

fn survives() -> Result<()> {
    let mut screen = Screen::memory();
    let options = Options {
        binfmt: false,
        ..Options::quick()
    };
    show(&mut screen, &options)?;
    let text = screen.text();
    let wide: Vec<&str> = text.lines().filter(|l| l.chars().count() > 80).collect();
    ensure!(wide.is_empty(), "too wide for a terminal: {wide:#?}");
    ensure!(!text.contains('\x1b'), "colour where there is no terminal");
    for part in [
        "172.28.27.77",
        "172.19.3.4",
        "172.30.200.9",
        "172.25.8.7",
        "simulated",
        "/init",
    ] {
        ensure!(text.contains(part), "{part} is missing in:\n{text}");
    }
    Ok(())
}

const PICTURE: &str = "  lan                 windows (simulated)          guest: WSL2
  client -- :2222 --> relay or portproxy, :2222 -> eth0 :22, a service
                      powershell.exe <------------ wslmesh run

";

fn show(screen: &mut Screen, options: &Options) -> Result<()> {
    screen.title("wslmesh: four address changes in a simulated WSL")?;
    let world = World::start(options)?;
    ensure!(
        world.has_agent(),
        "the agent is not built: run `cargo build`, or name it in WSLMESH_BIN"
    );
    screen.plain(PICTURE)?;
    screen.fact(
        "This machine",
        "untouched: all of it happens in namespaces that end with the demo.",
    )?;
    screen.fact(
        "Windows",
        &format!(
            "simulated. powershell.exe is a stand-in that takes {:.1} s to start, as the \
             real one does; the relay and the port proxy really listen and really forward.",
            f64::from(u32::try_from(options.start_up_ms)?) / 1e3
        ),
    )?;
    screen.fact("Interop", INTEROP)?;
    let mut stage = Stage::new(&world, screen)?;
    let mut rows = play(&world, &mut stage)?;
    let relay = mean(&rows);
    let proxied = play_portproxy(&mut stage)?;
    let portproxy = proxied
        .last()
        .map_or(0, |row| row.outage.unwrap_or_default());
    rows.extend(proxied);
    stage.end()?;
    world.windows().check()?;
    table(screen, &rows)?;
    screen.plain(&format!(
        "\nThe client came back after each of the four address changes, by itself.\n\
         By the relay it was cut off for {relay} ms; by the port proxy for {portproxy} ms, of\n\
         which PowerShell's start on Windows is {}.\n",
        share(options.start_up_ms, portproxy)
    ))?;
    Ok(())
}

/// `wslmesh status` as a terminal shows it.
fn status_page(world: &World) -> Result<String> {
    let command = format!("{AGENT} status");
    let argv = ["script", "--quiet", "--command", &command, "/dev/null"];
    let process = world.spawn_guest(&argv, &[("TERM", "xterm-256color")])?;
    Ok(process.finish(LIMIT)?.stdout)
}

/// How the agent reaches Windows programs.
const INTEROP: &str = "powershell.exe is started by calling /init, as in WSL.";

fn share(start_up_ms: u64, mean_ms: u64) -> String {
    let percent = (start_up_ms * 100).checked_div(mean_ms).unwrap_or(0);
    format!("about {} %", percent.min(100))
}

/// The scenes, one row of the table each.
fn play<'w>(world: &'w World, stage: &mut Stage<'w, '_>) -> Result<Vec<Row>> {
    let picture = std::env::var_os(STATUS);
    // The status page shows more with a bus.
    let _bus = picture.as_ref().map(|_| world.start_bus()).transpose()?;
    stage.note("as after `wslmesh host install`")?;
    let mut rows = vec![stage.scene(
        "the agent starts",
        Stage::start,
        &Expected::address("172.28.16.5"),
    )?];

    let mut tunnel = Tunnel::plan(world);
    stage.note(&tunnel.why)?;
    let up = format!("tunnel {} comes up, MTU {}", tunnel.name, tunnel.mtu);
    let kept = Expected::mtu(tunnel.name, 1280);
    rows.push(stage.scene(&up, |_| tunnel.up(world), &kept)?);
    tunnel.check()?;

    rows.push(stage.scene(
        "1. new address 172.28.27.77",
        |_| world.change_address("172.28.27.77/20"),
        &Expected::address("172.28.27.77"),
    )?);
    rows.push(stage.scene(
        "eth0 is lowered to MTU 1280 (a VPN on Windows)",
        |_| world.set_mtu(1280),
        &Expected::mtu("eth0", 1340),
    )?);
    rows.push(stage.scene(
        "2. new address 172.19.3.4, another network",
        |_| world.change_address("172.19.3.4/20"),
        &Expected::address("172.19.3.4"),
    )?);
    rows.push(stage.scene(
        "3. new address 172.30.200.9, and MTU 1280 again",
        |_| {
            world.set_mtu(1280)?;
            world.change_address("172.30.200.9/20")
        },
        &Expected {
            mtu: Some(("eth0", 1340)),
            ..Expected::address("172.30.200.9")
        },
    )?);
    if let Some(path) = picture {
        std::fs::write(&path, status_page(world)?).with_context(|| format!("{path:?}"))?;
    }
    Ok(rows)
}

/// The same with the port proxy.
fn play_portproxy(stage: &mut Stage<'_, '_>) -> Result<Vec<Row>> {
    stage.note("`wslmesh host install` once more, for backend = \"portproxy\"")?;
    let switched = stage.scene(
        "the port proxy takes over from the relay",
        Stage::switch_to_portproxy,
        &Expected {
            file: false,
            ..Expected::proxied("172.30.200.9")
        },
    )?;
    let moved = stage.scene(
        "4. new address 172.25.8.7, by the port proxy",
        |stage| stage.world.change_address("172.25.8.7/20"),
        &Expected::proxied("172.25.8.7"),
    )?;
    Ok(vec![switched, moved])
}

/// WireGuard where this user may create it, else a link named as Tailscale's.
struct Tunnel<'w> {
    name: &'static str,
    mtu: u32,
    why: String,
    wireguard: Option<WireGuard<'w>>,
}

impl<'w> Tunnel<'w> {
    /// Tries WireGuard under another name: an interface of the agent's pattern
    /// would be kept in order before the scene begins.
    fn plan(world: &'w World) -> Self {
        let tried = world.wireguard("try0", 0);
        let userspace = tried.as_ref().is_ok_and(WireGuard::userspace);
        match tried.and_then(WireGuard::remove) {
            Ok(()) => Self {
                name: "wg0",
                mtu: 1420,
                why: format!(
                    "the tunnel is WireGuard, {}",
                    if userspace {
                        "by wireguard-go because the kernel has none"
                    } else {
                        "the kernel's"
                    }
                ),
                wireguard: None,
            },
            Err(error) => Self {
                name: "tailscale0",
                mtu: 1500,
                why: format!(
                    "no WireGuard here ({error:#}); a plain link named tailscale0 instead"
                ),
                wireguard: None,
            },
        }
    }

    fn up(&mut self, world: &'w World) -> Result<()> {
        if self.name == "wg0" {
            self.wireguard = Some(world.wireguard(self.name, 2)?);
            return Ok(());
        }
        // veth, because every kernel that can build the lab has it.
        let link =
            "link add tailscale0 type veth peer name far netns lan\nlink set tailscale0 up\n";
        let made = world.run(Place::Guest, &["ip", "-batch", "-"], link.as_bytes())?;
        made.ok().map(drop)
    }

    /// The agent also gives each WireGuard peer a keepalive.
    fn check(&self) -> Result<()> {
        if let Some(wireguard) = &self.wireguard {
            let keepalives = wireguard.keepalives()?;
            ensure!(
                !keepalives.is_empty() && keepalives.values().all(|k| *k == Some(25)),
                "keepalives: {keepalives:?}"
            );
        }
        Ok(())
    }
}
