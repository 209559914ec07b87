//! `wslmesh host install`

use anyhow::Context;
use clap::Args;

use super::{
    super::{
        ask::go_on,
        members::{INSTALL, Members},
        output::{Exit, print, print_error, prose},
        table::{WIDTH, hanging, wrap},
    },
    shown,
};
use crate::{
    config::{Backend, Forward, Settings},
    host::setup::{
        Agreed, Answer, Distribution, Grant, Order, Policy, Profiles, Setup, SetupError, Shipped,
        files, grants_of_all, is_agreed, policy,
    },
    interop,
    model::{Mode, ModeState, SyncMode},
    paths::Paths,
    plan::settings_of_all,
};

/// This package.
const PACKAGE: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Default, Args)]
pub(in super::super) struct Install {
    /// Show the policy, the files and every step, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Allow these ports too, for forwards that come later: tcp:8000-8010, or tcp:8000:80
    #[arg(long, value_name = "PROTO:FROM-TO[:CONNECT]")]
    ports: Vec<Grant>,
    /// Kinds of networks that the firewall rules are for: domain, private, public
    /// [default: as installed, at first domain,private]
    #[arg(long, value_name = "LIST")]
    profiles: Option<Profiles>,
    /// Start this distribution after a Windows logon [default: as installed, at first yes]
    #[arg(long, conflicts_with = "no_logon")]
    logon: bool,
    /// Do not start this distribution after a Windows logon
    #[arg(long)]
    no_logon: bool,
    /// Do not ask here (Windows still asks, unless this is elevated already)
    #[arg(long)]
    yes: bool,
}

impl Install {
    /// What `forward add` asks for: nothing beside the configuration.
    pub(in super::super) fn as_configured(yes: bool) -> Self {
        Self {
            yes,
            ..Self::default()
        }
    }

    /// The policy to agree to: what is not chosen stays as installed.
    fn policy(
        &self,
        grants: Vec<Grant>,
        distribution: Distribution,
        mode: &ModeState,
        old: &Agreed,
    ) -> Policy {
        let old = match old {
            Agreed::Policy(old) => Some(old),
            Agreed::Nothing | Agreed::Unreadable => None,
        };
        let profiles = self.profiles.as_ref();
        let profiles = profiles.or(old.map(|old| &old.profiles));
        Policy {
            version: policy::VERSION,
            package: PACKAGE.into(),
            distribution,
            mode: match mode {
                ModeState::Known(Mode::Mirrored) => SyncMode::Mirrored,
                ModeState::Known(_) => SyncMode::Nat,
                ModeState::Pending | ModeState::Unknown(_) => {
                    old.map_or(SyncMode::Nat, |old| old.mode)
                }
            },
            logon: !self.no_logon && (self.logon || old.is_none_or(|old| old.logon)),
            profiles: profiles.cloned().unwrap_or_default(),
            grants,
        }
    }
}

/// What is asked for, beside what is installed.
struct Wanted {
    grants: Vec<Grant>,
    /// What the grants are for, where others have forwards beside this distribution.
    forwards: Vec<Forward>,
}

impl Wanted {
    /// By the configuration and, at the leader, by what the other distributions registered.
    fn new(arguments: &Install, settings: &Settings, paths: &Paths) -> anyhow::Result<Self> {
        let members = Members::of_the_agent(paths, INSTALL);
        members.print_unknown()?;
        let discovering = members.group.members.iter();
        for member in discovering.filter(|member| !member.discovered.is_empty()) {
            print(&prose(&format!(
                "note: what {} discovers is not among them; name its ranges with --ports",
                member.distribution
            )))?;
        }
        let mut all = settings_of_all(settings, &members.group);
        let (grants, left) = grants_of_all(&mut all, &arguments.ports)?;
        for why in left {
            print(&prose(&format!("left out: {why}")))?;
        }
        let forwards = match members.group.members.is_empty() {
            true => Vec::new(),
            false => all.forwards,
        };
        Ok(Self { grants, forwards })
    }
}

/// Asks Windows' administrator to approve the configured forwards.
pub(in super::super) async fn install(
    arguments: &Install,
    settings: &Settings,
    paths: &Paths,
) -> anyhow::Result<Exit> {
    if settings.backend == Backend::None {
        print("[host] backend is \"none\", so the configured forwards need no approval\n")?;
    }
    let Wanted { grants, forwards } = Wanted::new(arguments, settings, paths)?;
    let files = files::shipped(&paths.lib)?;
    if arguments.dry_run {
        return dry_run(arguments, grants, &forwards, &files, paths).await;
    }
    let setup = Setup::find(&paths.state)?;
    let (distribution, before) = installed(&setup).await?;
    let mode = interop::ask_mode().await;
    let policy = arguments.policy(grants, distribution, &mode, &before.policy);
    let agreed = before.elevated && arguments.yes;
    if !is_agreed(&before, &policy) {
        show(&policy, &forwards, &before)?;
        if !agreed {
            print(
                "\nWindows will ask for administrator rights, and an elevated window will\nshow this again and ask for the word yes. Both wait about two minutes.",
            )?;
        }
        if let Some(end) = go_on("Go on?", arguments.yes, shown::LOOK_FIRST)? {
            return Ok(end);
        }
    }
    let order = Order::Install {
        policy: &policy,
        package: PACKAGE,
        files: &files,
        agreed,
    };
    let answer = setup.call(order).await.context(shown::UNKNOWN)?;
    shown::outcome(&answer, paths).await
}

async fn installed(setup: &Setup) -> Result<(Distribution, Answer), SetupError> {
    let distribution = setup.distribution().await?;
    Ok((distribution, setup.call(Order::Look).await?))
}

/// Policy and changes, as text.
fn show(policy: &Policy, forwards: &[Forward], before: &Answer) -> anyhow::Result<()> {
    let distribution = &policy.distribution;
    let heading = format!("To be approved on Windows, for the distribution {distribution}:");
    shown::print_block(&heading, &shown::policy(policy, forwards))?;
    let changes = shown::changes(&before.policy, policy);
    match &before.installed {
        _ if !changes.is_empty() => shown::print_block("\nChanges:", &changes)?,
        Some(installed) if installed.version != policy.package => print(&format!(
            "\nChanges: version {} -> {}",
            installed.version, policy.package
        ))?,
        Some(_) | None => print("\nThe policy is unchanged; its files are installed again.")?,
    }
    if changes.iter().any(|change| change.starts_with('-')) {
        print(
            "\nForwards of a distribution whose agent is not running are not known here: start it\nfirst to keep them.",
        )?;
    }
    if !policy.profiles.has(policy::Profile::Public) {
        print(
            "\nWindows often classifies home networks as public, and these firewall rules do not\ncover public networks. Make the network private in Windows' settings, or add\n--profiles domain,private,public",
        )?;
    }
    if !before.other_users.is_empty() {
        print(&format!(
            "\n{} other Windows user(s) of this machine share the program files.",
            before.other_users.len()
        ))?;
    }
    Ok(())
}

async fn dry_run(
    arguments: &Install,
    grants: Vec<Grant>,
    forwards: &[Forward],
    files: &[Shipped],
    paths: &Paths,
) -> anyhow::Result<Exit> {
    let looked = async {
        let setup = Setup::find(&paths.state)?;
        installed(&setup).await
    };
    let mode = interop::ask_mode().await;
    let (policy, exit) = match looked.await {
        Ok((distribution, before)) => {
            let policy = arguments.policy(grants, distribution, &mode, &before.policy);
            if is_agreed(&before, &policy) {
                shown::print_block("Already approved:", &shown::policy(&policy, forwards))?;
            } else {
                show(&policy, forwards, &before)?;
            }
            (policy, Exit::Fine)
        }
        Err(error) => {
            let name = std::env::var("WSL_DISTRO_NAME").unwrap_or_default();
            let unknown = |_| Distribution::try_from("unknown".to_owned());
            let distribution = Distribution::try_from(name).or_else(unknown)?;
            let policy = arguments.policy(grants, distribution, &mode, &Agreed::Nothing);
            shown::print_block(
                "To be approved on Windows:",
                &shown::policy(&policy, forwards),
            )?;
            print_error(&anyhow::Error::new(error).context("cannot read the present policy"));
            (policy, Exit::Failed)
        }
    };
    shown::print_block("\nFiles:", &shown::files(files))?;
    shown::print_block("\nSteps on Windows:", &steps(&policy))?;
    print("\nNothing was changed.")?;
    Ok(exit)
}

/// What an installation does, in its order.
fn steps(policy: &Policy) -> Vec<String> {
    let mut steps = vec![
        "write the files to %LOCALAPPDATA%\\wslmesh\\staging, and remove them there at the end",
        "ask for administrator rights (one prompt); start PowerShell with a loader that carries the hashes of setup.ps1 and of the order",
        "in that window: show the policy, ask for the word yes, check every file's hash",
        "write forward.ps1 and wslmesh-relay.exe to %ProgramFiles%\\wslmesh",
        "start the relay once, by a task as this user, to see whether Windows lets it run",
        "write version and hashes to HKLM\\SOFTWARE\\wslmesh, and the policy below <SID>",
    ];
    let proxied = policy.proxied(false).next().is_some();
    if proxied || policy.proxied(true).next().is_some() {
        steps.push(match proxied {
            true => "for the port proxy, register the task \\wslmesh\\forward-<SID>: it runs forward.ps1 as SYSTEM, this user may start it; and make %ProgramFiles%\\wslmesh\\<SID>\\inbox\\selection.json, the one file there that this user may write, for lists of ports within the policy",
            false => "where Windows does not let the relay run: register the task \\wslmesh\\forward-<SID>, which runs forward.ps1 as SYSTEM, and its request file, so that the port proxy serves TCP",
        });
    }
    if policy.logon {
        steps.push(
            "register the task \\wslmesh\\logon-<SID>: it starts the distribution after a logon, as this user, without administrator rights",
        );
    }
    steps.push("make the firewall's rules for the grants, and two that keep Windows from asking about the relay");
    steps.push(match proxied {
        true => "afterwards the agent serves the forwards by the relay, without any rights, and has the task make those of the port proxy with their firewall rules",
        false => "afterwards the agent serves the forwards by the relay, without any rights",
    });
    let numbered = |(number, step)| {
        let head = format!("{}. ", number + 1);
        // Below a margin, after the number.
        hanging(&head, wrap(step, WIDTH - 2 - head.len()))
    };
    steps.into_iter().enumerate().flat_map(numbered).collect()
}
