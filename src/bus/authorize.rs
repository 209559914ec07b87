//! Who may change something: root, and users whom polkit allows.

use std::{collections::HashMap, future::pending, time::Duration};

use futures_util::StreamExt;
use tokio::{select, time::timeout};
use zbus::{
    Connection, Variant,
    message::{Flags, Header},
};

use super::{
    daemon::{new_owner, owners},
    error::Error,
    quota::Caller,
};

/// Longest wait for a polkit that asks no person.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a polkit that asks a person for a password.
const PASSWORD_TIMEOUT: Duration = Duration::from_secs(120);

/// polkit's AllowUserInteraction.
const INTERACTIVE: u32 = 1;

/// What only some may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Reapply,
    Reload,
    AddForward,
    RemoveForward,
}

impl Action {
    /// polkit's name for it, as in dbus/org.wslmesh.Agent1.policy.
    fn id(self) -> &'static str {
        match self {
            Self::Reapply => "org.wslmesh.Agent1.reapply",
            Self::Reload => "org.wslmesh.Agent1.reload",
            Self::AddForward | Self::RemoveForward => "org.wslmesh.Agent1.manage-forwards",
        }
    }

    /// What it is, and how root does it.
    fn description(self) -> &'static str {
        match self {
            Self::Reapply => "try everything again: sudo systemctl reload wslmesh",
            Self::Reload => "have the configuration read again: sudo systemctl reload wslmesh",
            Self::AddForward => "add a forward: sudo wslmesh forward add ...",
            Self::RemoveForward => "remove a forward: sudo wslmesh forward remove ...",
        }
    }

    /// Who may do it besides root, and how root does it.
    fn permitted(self) -> String {
        format!(
            "only root, a member of group wslmesh or a user whom polkit allows {} may {}",
            self.id(),
            self.description()
        )
    }
}

#[zbus::proxy(
    interface = "org.freedesktop.PolicyKit1.Authority",
    default_service = "org.freedesktop.PolicyKit1",
    default_path = "/org/freedesktop/PolicyKit1/Authority"
)]
trait Authority {
    /// Gives back whether it is allowed, whether a person could still be asked, and
    /// details.
    fn check_authorization(
        &self,
        subject: &(&str, HashMap<&str, Variant<'_>>),
        action_id: &str,
        details: &HashMap<&str, &str>,
        flags: u32,
        cancellation_id: &str,
    ) -> zbus::Result<(bool, bool, HashMap<String, String>)>;

    fn cancel_check_authorization(&self, cancellation_id: &str) -> zbus::Result<()>;
}

/// Lets an admitted call pass, or refuses it with the reason.
pub(super) async fn authorize(
    bus: &Connection,
    call: &Header<'_>,
    caller: &Caller,
    action: Action,
) -> Result<(), Error> {
    if caller.user == 0 {
        return Ok(());
    }
    let denied = || Error::Denied(format!("only root may {}", action.description()));
    let sender = call.sender().ok_or_else(denied)?;
    let _permit = caller.polkit_call()?;
    let interactive = call
        .primary()
        .flags()
        .contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let dialogue = interactive.then(|| format!("{sender}/{}", caller.dialogue()));
    match ask_polkit(bus, sender, action, dialogue.as_deref()).await {
        Some((true, _)) => Ok(()),
        Some((false, true)) if !interactive => Err(Error::Interactive(format!(
            "this call does not let polkit ask for a password; {}",
            action.permitted()
        ))),
        Some((false, _)) => Err(Error::Denied(action.permitted())),
        None => Err(denied()),
    }
}

/// Asks polkit, and lets it ask a person where there is a name for that dialogue:
/// whether it allows the action, and whether a password would help. `None` where
/// there is no polkit, where it does not answer in time, and where the caller has
/// left.
async fn ask_polkit(
    bus: &Connection,
    sender: &str,
    action: Action,
    dialogue: Option<&str>,
) -> Option<(bool, bool)> {
    let polkit = AuthorityProxy::new(bus).await.ok()?;
    let subject = (
        "system-bus-name",
        HashMap::from([("name", Variant::from(sender))]),
    );
    let (flags, limit) = match dialogue {
        Some(_) => (INTERACTIVE, PASSWORD_TIMEOUT),
        None => (0, TIMEOUT),
    };
    let details = HashMap::new();
    let id = dialogue.unwrap_or_default();
    let call = polkit.check_authorization(&subject, action.id(), &details, flags, id);
    let answer = select! {
        answer = timeout(limit, call) => answer.ok(),
        () = left(bus, sender), if dialogue.is_some() => None,
    };
    if let Some(answer) = answer {
        let (granted, challenge, _) = answer.ok()?;
        return Some((granted, challenge));
    }
    let cancelled = timeout(TIMEOUT, polkit.cancel_check_authorization(dialogue?)).await;
    if !matches!(cancelled, Ok(Ok(()))) {
        tracing::debug!(event = "bus", "polkit did not end a dialogue");
    }
    None
}

/// Waits until a connection has ended; for ever where the bus does not say.
async fn left(bus: &Connection, connection: &str) {
    if let Ok(mut changes) = owners(bus, connection).await {
        while let Some(Ok(change)) = changes.next().await {
            if new_owner(&change).is_some_and(|owner| owner.is_empty()) {
                return;
            }
        }
    }
    pending().await
}
