//! Who may change something: root, and whom polkit allows.

use std::{collections::HashMap, time::Duration};

use serde::Deserialize;
use tokio::time::timeout;
use zbus::{
    Connection, Message, Type, Variant,
    message::{Flags, Header},
};

use super::{callers::Caller, error::Error};

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
}

/// polkit's answer to CheckAuthorization.
#[derive(Debug, Deserialize, Type)]
struct Authorization {
    granted: bool,
    /// Whether a person could still be asked.
    #[expect(dead_code, reason = "a part of the answer's form")]
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
    match ask_polkit(bus, sender, action, interactive).await {
        Some(Authorization { granted: true, .. }) => Ok(()),
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
        Some("org.freedesktop.DBus"),
        "/org/freedesktop/DBus",
        Some("org.freedesktop.DBus"),
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

/// Asks polkit. `None` where there is none, and where it does not answer in time.
async fn ask_polkit(
    bus: &Connection,
    sender: &str,
    action: Action,
    interactive: bool,
) -> Option<Authorization> {
    let subject = (
        "system-bus-name",
        HashMap::from([("name", Variant::from(sender))]),
    );
    let details: HashMap<&str, &str> = HashMap::new();
    let (flags, deadline) = if interactive {
        (INTERACTIVE, FOR_A_PERSON)
    } else {
        (0, DEADLINE)
    };
    // One dialogue for each caller; without a name for it nothing can end it.
    let cancellation = if interactive { sender } else { "" };
    let arguments = (subject, action.id(), details, flags, cancellation);
    let question = polkit(bus, "CheckAuthorization", &arguments);
    match timeout(deadline, question).await {
        Ok(answer) => answer.ok()?.body().deserialize().ok(),
        Err(_) => {
            let call = timeout(
                DEADLINE,
                polkit(bus, "CancelCheckAuthorization", &cancellation),
            );
            call.await.map(drop).unwrap_or_default();
            None
        }
    }
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
