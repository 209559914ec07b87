//! The way onto the bus, and back onto it when it was away.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};
use zbus::{Connection, MatchRule, MessageStream, connection::Builder, message::Type};

use super::{NAME, PATH, Shared, authority, emit, interface::Agent1};
use crate::{agent::backoff, report::Document};

/// Longest wait for a bus that takes a connection and then does not go on.
const PATIENCE: Duration = Duration::from_secs(10);
/// A link that lived for that long was none that failed.
const LASTING: Duration = Duration::from_secs(60);

const BUS: &str = "org.freedesktop.DBus";

/// RequestName's flags: a standby gives the name to its leader.
const ALLOW_REPLACEMENT: u32 = 1;
const REPLACE_EXISTING: u32 = 2;
/// RequestName's answers that mean that the name is ours.
const OURS: [u32; 2] = [1, 4];

/// Why there is no link.
enum Trouble {
    /// Nobody answers at the bus's address.
    Absent,
    /// The bus is there and will not have us, for this reason.
    Refused(String),
}

/// Stays on the bus for as long as the agent runs.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut failures = 0_u32;
    // Whether there was a bus before: one that never was is not waited for.
    let mut was_there = false;
    let mut said = None;
    loop {
        let link = timeout(PATIENCE, Link::make(&shared)).await;
        match link.unwrap_or(Err(Trouble::Absent)) {
            Ok(link) => {
                if was_there || said.take().is_some() {
                    tracing::info!(event = "bus", "on the system bus again");
                }
                was_there = true;
                let since = Instant::now();
                link.serve(&shared).await;
                shared.hear(false);
                shared.asker.name_is_held(None);
                if since.elapsed() >= LASTING {
                    failures = 0;
                }
                tracing::info!(
                    event = "bus",
                    "the system bus went away; everything else goes on, and the agent goes back to it by itself"
                );
            }
            // The first refusal may be that of a bus that is still to read its
            // policy, as when the package was installed just now.
            Err(Trouble::Refused(why)) if failures > 0 && said.as_ref() != Some(&why) => {
                tracing::warn!(
                    event = "bus",
                    "the system bus does not give the agent its name, so that no program finds it there: {why}; install {NAME}.conf into /usr/share/dbus-1/system.d, then: systemctl reload dbus wslmesh"
                );
                said = Some(why);
            }
            Err(Trouble::Refused(_)) => was_there = true,
            Err(Trouble::Absent) => tracing::debug!(event = "bus", "no system bus here"),
        }
        failures = failures.saturating_add(1);
        let due = Instant::now() + backoff::delay(failures, backoff::random());
        select! {
            () = shared.retry.notified() => {}
            () = due_again(&shared, due, was_there) => {}
        }
    }
}

/// Waits until another try is worth it. Where there has been no bus, that is
/// when there is something to tell: nobody is woken up for a machine without one.
async fn due_again(shared: &Shared, due: Instant, was_there: bool) {
    if was_there {
        sleep_until(due).await;
    } else {
        loop {
            shared.news.notified().await;
            if Instant::now() >= due {
                return;
            }
        }
    }
}

/// A connection that serves the object, and whether the name is ours.
struct Link {
    bus: Connection,
    owners: MessageStream,
    ours: bool,
    /// Whether the name was asked for as the leader's.
    leads: bool,
}

impl Link {
    async fn make(shared: &Arc<Shared>) -> Result<Self, Trouble> {
        let bus = Builder::system()
            .serve_at(PATH, Agent1::new(Arc::clone(shared)))
            .build()
            .await
            .map_err(|_| Trouble::Absent)?;
        let refused = |error: zbus::Error| Trouble::Refused(error.to_string());
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(BUS)
            .interface(BUS)
            .member("NameOwnerChanged")
            .arg(0, NAME)
            .build()
            .map_err(refused)?;
        // Before the name is asked for, so that no change of its owner is missed.
        let owners = MessageStream::for_match_rule(rule, &bus, None)
            .await
            .map_err(refused)?;
        let mut link = Self {
            bus,
            owners,
            ours: false,
            leads: false,
        };
        let leads = shared.document().is_some_and(|document| leads(&document));
        link.ask_for_the_name(leads, shared)
            .await
            .map_err(refused)?;
        shared.hear(true);
        Ok(link)
    }

    /// Asks for the name, and waits in the bus's queue for it where somebody
    /// else has it.
    async fn ask_for_the_name(&mut self, leads: bool, shared: &Shared) -> zbus::Result<()> {
        let flags = if leads {
            REPLACE_EXISTING
        } else {
            ALLOW_REPLACEMENT
        };
        let answer = self
            .bus
            .call_method(Some(BUS), "/", Some(BUS), "RequestName", &(NAME, flags))
            .await?;
        let answer: u32 = answer.body().deserialize()?;
        self.leads = leads;
        self.ours = OURS.contains(&answer);
        self.say_who(shared).await;
        Ok(())
    }

    /// Tells the agent who has its name. A standby does not mind.
    async fn say_who(&self, shared: &Shared) {
        let holder = if self.leads && !self.ours {
            Some(authority::holder(&self.bus, NAME).await)
        } else {
            None
        };
        shared.asker.name_is_held(holder);
    }

    /// Tells everything that the loop puts down, until the connection is gone.
    async fn serve(mut self, shared: &Shared) {
        let mut told: Option<Arc<Document>> = None;
        loop {
            let (document, signals) = shared.take();
            if let Some(document) = document {
                if leads(&document) != self.leads
                    && let Err(error) = self.ask_for_the_name(leads(&document), shared).await
                {
                    tracing::debug!(event = "bus", "the name was not given: {error}");
                }
                if self.ours {
                    let said = self.tell(told.as_deref(), &document, &signals).await;
                    said.unwrap_or_else(|error| {
                        tracing::debug!(event = "bus", "a signal was not sent: {error}")
                    });
                    told = Some(document);
                } else {
                    told = None;
                }
            }
            select! {
                () = self.bus.closed() => return,
                () = shared.news.notified() => {}
                change = self.owners.next() => match change {
                    Some(Ok(change)) => {
                        let owner = change.body();
                        let owner = owner.deserialize::<(&str, &str, &str)>();
                        let owner = owner.map_or("", |(_, _, owner)| owner);
                        self.ours = self.bus.unique_name().is_some_and(|own| **own == *owner);
                        self.say_who(shared).await;
                    }
                    Some(Err(_)) | None => return,
                },
            }
        }
    }

    /// The state first: who hears of a change may look at the state at once.
    async fn tell(
        &self,
        before: Option<&Document>,
        now: &Document,
        signals: &[super::Signal],
    ) -> zbus::Result<()> {
        emit::properties(&self.bus, before, now).await?;
        for signal in signals {
            emit::signal(&self.bus, signal).await?;
        }
        Ok(())
    }
}

fn leads(document: &Document) -> bool {
    document.role != "standby"
}
