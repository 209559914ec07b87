//! Following the agent on the bus.

use std::num::NonZeroUsize;

use futures_util::StreamExt;
use tokio::select;
use zbus::{
    MatchRule, Message, MessageStream,
    fdo::{DBusProxy, NameOwnerChangedStream},
    message::Type,
    names::BusName,
};

use super::{
    super::bus::{Bus, BusError, NAME, PATH},
    event::{Event, Finding},
};

/// More signals than anybody reads at once; the oldest are dropped.
const QUEUED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// The agent's signals, over its restarts.
#[derive(Debug)]
pub(super) struct Signals {
    bus: Bus,
    signals: MessageStream,
    owners: NameOwnerChangedStream,
    owner: Option<String>,
    told: bool,
}

impl Signals {
    /// Follows the agent of this bus, which need not be there.
    ///
    /// # Errors
    /// The bus refuses.
    pub(super) async fn of(bus: Bus) -> zbus::Result<Self> {
        let connection = bus.connection();
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(NAME)
            .path(PATH)
            .interface(NAME)
            .build()?;
        let signals = MessageStream::for_match_rule(rule, connection, Some(QUEUED)).await?;
        let daemon = DBusProxy::new(connection).await?;
        let owners = daemon.receive_name_owner_changed_with_args(&[(0, NAME)]);
        let owners = owners.await?;
        let owner = daemon.get_name_owner(BusName::try_from(NAME)?).await;
        Ok(Self {
            signals,
            owners,
            owner: owner.ok().map(|owner| owner.to_string()),
            told: false,
            bus,
        })
    }

    /// What is new, as soon as something is; the first time, how things are. `None`
    /// when the bus itself is gone.
    pub(super) async fn next(&mut self) -> Option<Event> {
        if !std::mem::replace(&mut self.told, true) {
            return Some(self.state().await);
        }
        loop {
            select! {
                // An agent is known before its signals count.
                biased;
                change = self.owners.next() => {
                    let change = change?;
                    let owner = change.args().ok()?.new_owner().as_ref().map(ToString::to_string);
                    self.owner = owner;
                    return Some(self.state().await);
                }
                message = self.signals.next() => {
                    let message = message?.ok()?;
                    if self.is_owners(&message) && let Some(event) = event(&message) {
                        return Some(event);
                    }
                }
            }
        }
    }

    /// Anybody may send a signal straight to us.
    fn is_owners(&self, message: &Message) -> bool {
        let header = message.header();
        let sender = header.sender().map(|sender| sender.as_str());
        sender.is_some() && sender == self.owner.as_deref()
    }

    async fn state(&self) -> Event {
        if self.owner.is_none() {
            return Event::NoAgent;
        }
        match self.bus.describe().await {
            Ok(document) => Event::state(&document),
            Err(BusError::Absent) => Event::NoAgent,
            Err(error) => Event::Unknown {
                reason: error.to_string(),
            },
        }
    }
}

/// A signal of the agent; `None` for one that came later than this program.
fn event(message: &Message) -> Option<Event> {
    let (header, body) = (message.header(), message.body());
    match header.member()?.as_str() {
        "AddressChanged" => {
            let (interface, old, new) = body.deserialize().ok()?;
            Some(Event::AddressChanged {
                interface,
                old,
                new,
            })
        }
        "HealthRaised" => {
            let (code, severity, subject, detail, remediation) = body.deserialize().ok()?;
            Some(Event::HealthRaised(Finding {
                code,
                severity,
                subject,
                detail,
                remediation,
            }))
        }
        "HealthCleared" => {
            let (code, subject) = body.deserialize().ok()?;
            Some(Event::HealthCleared { code, subject })
        }
        "Changed" => {
            let (changes, duration_us) = body.deserialize().ok()?;
            Some(Event::Changed {
                changes,
                duration_us,
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<B: serde::Serialize + zbus::Type>(member: &str, body: &B) -> Option<String> {
        let message = Message::signal(PATH, NAME, member);
        event(&message.build(body).unwrap()).map(|event| event.words())
    }

    #[test]
    fn each_signal_is_an_event() {
        assert_eq!(
            told("AddressChanged", &("eth0", "10.0.0.1", "10.0.0.2")).unwrap(),
            "eth0 address 10.0.0.1 -> 10.0.0.2"
        );
        assert_eq!(
            told(
                "HealthRaised",
                &("code", "warning", "wg0", "why", "What to do")
            )
            .unwrap(),
            "warning: code (wg0): why. What to do"
        );
        assert_eq!(
            told("HealthCleared", &("code", "wg0")).unwrap(),
            "code (wg0) cleared"
        );
        assert_eq!(
            told("Changed", &(["a", "b"].as_slice(), 1250_u64)).unwrap(),
            "a; b (1.2 ms)"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(told("Later", &("x",)), None);
        assert_eq!(told("HealthCleared", &("x",)), None, "another signature");
    }
}
