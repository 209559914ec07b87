//! The way onto the bus, and back onto it when it was away.

use std::{io, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{
    select,
    time::{Instant, sleep_until, timeout},
};
use zbus::{Connection, MessageStream, connection::Builder};

use super::{
    NAME, PATH, Shared,
    authority::{self, BUS},
    emit,
    interface::Agent1,
};
use crate::{backoff::Retry, report::Document};

/// Longest wait for a bus that takes a connection and then does not go on.
const PATIENCE: Duration = Duration::from_secs(10);
/// A link that lived for that long was none that failed.
const LASTING: Duration = Duration::from_secs(60);

/// RequestName's flags: a standby gives the name to its leader.
const ALLOW_REPLACEMENT: u32 = 1;
const REPLACE_EXISTING: u32 = 2;
/// RequestName's answers that mean that the name is ours.
const OURS: [u32; 2] = [1, 4];

/// Why there is no link.
enum Trouble {
    /// Nobody listens at the bus's address.
    Absent,
    /// Somebody listens there and does not take us, for this reason.
    Unwell(String),
    /// The bus is there and does not give us the name, for this reason.
    Refused(String),
}

impl Trouble {
    /// What a connection came to that was not made.
    fn connecting(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::Connection(cause, _)
                if matches!(
                    cause.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Self::Absent
            }
            _ => Self::Unwell(error.to_string()),
        }
    }
}

/// Stays on the bus for as long as the agent runs.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut retry = Retry::default();
    // Whether there has been a bus, well or not: one that never was is not
    // waited for.
    let mut was_there = false;
    let mut linked = false;
    let mut said = None;
    loop {
        let link = timeout(PATIENCE, Link::make(&shared)).await;
        let silent = || {
            let why = format!("it did not answer within {} s", PATIENCE.as_secs());
            Err(Trouble::Unwell(why))
        };
        match link.unwrap_or_else(|_| silent()) {
            Ok(link) => {
                if said.take().is_some() || linked {
                    tracing::info!(event = "bus", "on the system bus again");
                }
                (was_there, linked) = (true, true);
                let since = Instant::now();
                link.serve(&shared).await;
                shared.hear(false);
                shared.asker.name_is_held(None);
                if since.elapsed() >= LASTING {
                    retry.reset();
                }
                tracing::info!(
                    event = "bus",
                    "the system bus went away; everything else goes on, and the agent goes back to it by itself"
                );
            }
            // The first refusal may be that of a bus that is still to read its
            // policy, as when the package was installed just now.
            Err(Trouble::Refused(why)) if retry.failures > 0 && said.as_ref() != Some(&why) => {
                tracing::warn!(
                    event = "bus",
                    "the system bus does not give the agent its name, so that no program finds it there: {why}; install {NAME}.conf into /usr/share/dbus-1/system.d, then: systemctl reload dbus wslmesh"
                );
                said = Some(why);
            }
            Err(Trouble::Refused(_)) => was_there = true,
            Err(Trouble::Unwell(why)) => {
                if said.as_ref() != Some(&why) {
                    tracing::warn!(
                        event = "bus",
                        "the system bus is there and does not take the agent: {why}; everything else goes on, and the agent tries again by itself"
                    );
                }
                was_there = true;
                said = Some(why);
            }
            Err(Trouble::Absent) => tracing::debug!(event = "bus", "no system bus here"),
        }
        let due = retry.failed(std::time::Instant::now());
        select! {
            () = shared.retry.notified() => {}
            () = due_again(&shared, &retry, due.into(), was_there) => {}
        }
    }
}

/// Waits until another attempt is worth it. Where there has been no bus, there must
/// be something to publish too; after a few attempts no timer runs either, so that
/// an agent without a bus is not woken up: the first publication after `due` is
/// the next attempt.
async fn due_again(shared: &Shared, retry: &Retry, due: Instant, was_there: bool) {
    const WITH_TIMER: u32 = 2;
    if !was_there {
        shared.news.notified().await;
        while retry.failures > WITH_TIMER && due > Instant::now() {
            shared.news.notified().await;
        }
    }
    sleep_until(due).await;
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
            .map_err(Trouble::connecting)?;
        let refused = |error: zbus::Error| Trouble::Refused(error.to_string());
        // Before the name is asked for, so that no change of its owner is missed.
        let owners = authority::owners(&bus, NAME).await.map_err(refused)?;
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
                        if let Some(owner) = authority::new_owner(&change) {
                            self.ours = self.bus.unique_name().is_some_and(|own| **own == *owner);
                            self.say_who(shared).await;
                        }
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::{agent::desk, bus::Bus, config::Source};

    const LONG: Duration = Duration::from_secs(10);

    fn bus() -> Bus {
        desk(Source::File("/nowhere".into())).0
    }

    /// The second news may never come.
    #[tokio::test]
    async fn news_before_its_time_is_not_lost() {
        let Bus(shared) = bus();
        shared.news.notify_one();
        let due = Instant::now() + Duration::from_millis(50);
        timeout(LONG, due_again(&shared, &Retry::default(), due, false))
            .await
            .unwrap();
        assert!(Instant::now() >= due);
        // After a few attempts the next one is made with news alone, not by a timer.
        let mut retry = Retry::default();
        retry.failures = 3;
        shared.news.notify_one();
        let due = Instant::now() + Duration::from_millis(50);
        let short = Duration::from_millis(100);
        let early = timeout(short, due_again(&shared, &retry, due, false)).await;
        assert!(early.is_err(), "the news came before its time");
        shared.news.notify_one();
        timeout(LONG, due_again(&shared, &retry, due, false))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn nobody_is_woken_up_for_a_machine_without_a_bus() {
        let Bus(shared) = bus();
        let due = Instant::now();
        let short = Duration::from_millis(100);
        let woken = timeout(short, due_again(&shared, &Retry::default(), due, false)).await;
        assert!(woken.is_err());
        timeout(LONG, due_again(&shared, &Retry::default(), due, true))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn only_a_bus_that_nobody_listens_for_is_absent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus");
        let address = format!("unix:path={}", path.display());
        let connect = async || {
            let built = Builder::address(address.as_str()).build().await;
            Trouble::connecting(built.unwrap_err())
        };
        assert!(matches!(connect().await, Trouble::Absent), "no socket");
        let listener = UnixListener::bind(&path).unwrap();
        // It takes the connection and ends it, as a bus that is full does.
        let taker = std::thread::spawn(move || drop(listener.accept().unwrap()));
        let full = connect().await;
        assert!(matches!(full, Trouble::Unwell(_)), "ended");
        taker.join().unwrap();
        let refused = connect().await;
        assert!(matches!(refused, Trouble::Absent), "nobody listens");
    }
}
