//! Who may change something: root, and whom polkit allows.

use std::{collections::HashMap, future::pending, time::Duration};

use futures_util::StreamExt;
use serde::Deserialize;
use tokio::{select, time::timeout};
use zbus::{
    Connection, MatchRule, Message, MessageStream, Variant,
    message::{Flags, Header, Type as Kind},
};

use super::{callers::Caller, error::Error};

/// The bus itself.
pub(super) const BUS: &str = "org.freedesktop.DBus";

/// Longest wait for the bus, and for a polkit that asks nobody.
const DEADLINE: Duration = Duration::from_secs(5);
/// Longest wait for a polkit that asks a person for a password.
const FOR_A_PERSON: Duration = Duration::from_secs(120);

/// polkit's AllowUserInteraction.
const INTERACTIVE: u32 = 1;

/// What may be asked of the agent by those who may change something.
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

    /// What only root may do, and how root does it.
    fn words(self) -> &'static str {
        match self {
            Self::Reapply => "try everything again: sudo systemctl reload wslmesh",
            Self::Reload => "have the configuration read again: sudo systemctl reload wslmesh",
            Self::AddForward => "add a forward: sudo wslmesh forward add ...",
            Self::RemoveForward => "remove a forward: sudo wslmesh forward remove ...",
        }
    }

    fn denied(self) -> Error {
        Error::Denied(format!("only root may {}", self.words()))
    }

    /// With polkit's own way in, where there is a polkit.
    fn not_authorized(self) -> Error {
        Error::Denied(format!(
            "only root, a member of group wslmesh or whom polkit allows {} may {}",
            self.id(),
            self.words()
        ))
    }

    /// Where a password would do, and the call may not ask for one.
    fn not_interactive(self) -> Error {
        Error::Interactive(format!(
            "this call does not let polkit ask for a password; only root, a member of group wslmesh or whom polkit allows {} may {}",
            self.id(),
            self.words()
        ))
    }
}

/// polkit's answer to CheckAuthorization.
#[derive(Debug, Deserialize, zbus::Type)]
struct Authorization {
    granted: bool,
    /// Whether a person could still be asked.
    challenge: bool,
    #[expect(dead_code, reason = "a part of the answer's form")]
    details: HashMap<String, String>,
}

/// Lets a caller's message pass, or says why not.
pub(super) async fn may(
    bus: &Connection,
    call: &Header<'_>,
    caller: &Caller,
    action: Action,
) -> Result<(), Error> {
    if caller.user == 0 {
        return Ok(());
    }
    let sender = call.sender().ok_or_else(|| action.denied())?;
    let _place = caller.question()?;
    let interactive = call
        .primary()
        .flags()
        .contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let dialogue = interactive.then(|| format!("{sender}/{}", caller.dialogue()));
    match ask_polkit(bus, sender, action, dialogue.as_deref()).await {
        Some(Authorization { granted: true, .. }) => Ok(()),
        Some(answer) if answer.challenge && !interactive => Err(action.not_interactive()),
        Some(_) => Err(action.not_authorized()),
        None => Err(action.denied()),
    }
}

/// The user behind a name; `None` where the bus does not tell.
pub(super) async fn user(bus: &Connection, name: &str) -> Option<u32> {
    credentials(bus, name).await.and_then(|known| known.user)
}

/// Who has a name on the bus, for a person.
pub(super) async fn holder(bus: &Connection, name: &str) -> String {
    let credentials = credentials(bus, name).await.unwrap_or_default();
    match (credentials.process, credentials.user) {
        (Some(process), Some(user)) => format!("process {process} of user {user} has it"),
        (_, Some(user)) => format!("a process of user {user} has it"),
        (_, None) => "another program has it".to_owned(),
    }
}

/// Who is behind a name, as far as the bus knows.
#[derive(Debug, Default)]
struct Credentials {
    user: Option<u32>,
    process: Option<u32>,
}

/// `None` where the name is gone, and where the bus does not answer.
async fn credentials(bus: &Connection, name: &str) -> Option<Credentials> {
    let question = bus.call_method(
        Some(BUS),
        "/org/freedesktop/DBus",
        Some(BUS),
        "GetConnectionCredentials",
        &name,
    );
    let answer = timeout(DEADLINE, question).await.ok()?.ok()?;
    let body = answer.body();
    let known: HashMap<&str, Variant<'_>> = body.deserialize().ok()?;
    let number = |key: &str| known.get(key).and_then(|value| u32::try_from(value).ok());
    Some(Credentials {
        user: number("UnixUserID"),
        process: number("ProcessID"),
    })
}

/// Asks polkit, and lets it ask a person where there is a name for that dialogue.
/// `None` where there is no polkit, where it does not answer in time, and where
/// nobody waits for the answer any longer.
async fn ask_polkit(
    bus: &Connection,
    sender: &str,
    action: Action,
    dialogue: Option<&str>,
) -> Option<Authorization> {
    let subject = (
        "system-bus-name",
        HashMap::from([("name", Variant::from(sender))]),
    );
    let details: HashMap<&str, &str> = HashMap::new();
    let flags = if dialogue.is_some() { INTERACTIVE } else { 0 };
    let arguments = (
        subject,
        action.id(),
        details,
        flags,
        dialogue.unwrap_or_default(),
    );
    let question = polkit(bus, "CheckAuthorization", &arguments);
    let Some(dialogue) = dialogue else {
        let answer = timeout(DEADLINE, question).await.ok()?;
        return answer.ok()?.body().deserialize().ok();
    };
    let answer = select! {
        answer = timeout(FOR_A_PERSON, question) => answer.ok(),
        () = gone(bus, sender) => None,
    };
    if let Some(answer) = answer {
        return answer.ok()?.body().deserialize().ok();
    }
    let call = polkit(bus, "CancelCheckAuthorization", &dialogue);
    if !matches!(timeout(DEADLINE, call).await, Ok(Ok(_))) {
        tracing::debug!(event = "bus", "polkit did not end a dialogue");
    }
    None
}

/// Waits until a connection has ended; for ever where the bus does not tell.
async fn gone(bus: &Connection, connection: &str) {
    if let Ok(mut changes) = owners(bus, connection).await {
        while let Some(Ok(change)) = changes.next().await {
            if new_owner(&change).is_some_and(|owner| owner.is_empty()) {
                return;
            }
        }
    }
    pending().await
}

/// Changes of the owner of a name, for [`new_owner`].
pub(super) async fn owners(bus: &Connection, name: &str) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Kind::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(0, name)
        .build()?;
    MessageStream::for_match_rule(rule, bus, None).await
}

/// Who has a name now; `None` where it is not the bus that says so: anybody may
/// send such a signal to the agent alone.
pub(super) fn new_owner(change: &Message) -> Option<String> {
    let header = change.header();
    let sender = header.sender().map(|sender| sender.as_str());
    let body = change.body();
    let (_, _, owner): (&str, &str, &str) = body.deserialize().ok()?;
    (sender == Some(BUS)).then(|| owner.to_owned())
}

async fn polkit<A>(bus: &Connection, method: &str, arguments: &A) -> zbus::Result<Message>
where
    A: serde::Serialize + zbus::wire::DynamicType,
{
    bus.call_method(
        Some("org.freedesktop.PolicyKit1"),
        "/org/freedesktop/PolicyKit1/Authority",
        Some("org.freedesktop.PolicyKit1.Authority"),
        method,
        arguments,
    )
    .await
}
