//! The object over a socket pair, with a scripted bus and polkit.

use std::{
    collections::HashMap,
    os::unix::net::UnixStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use tokio::time::{sleep, timeout};
use zbus::{
    Connection, MessageStream, Variant,
    connection::Builder,
    fdo,
    message::{Flags, Message, Type},
    wire::DynamicType,
};

use super::{super::*, LONG};
use crate::{
    config::Source,
    control::{NAME, PATH, Requested, requests},
};

/// What the bus and polkit say, and what polkit was asked.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The caller's user, and how long the bus thinks about it in milliseconds.
    pub(super) uid: AtomicU32,
    pub(super) thinks: AtomicU64,
    /// How often the bus was asked.
    pub(super) lookups: AtomicUsize,
    /// What polkit says after that many milliseconds.
    pub(super) verdict: Mutex<Option<(bool, u64)>>,
    /// Whether polkit would ask a person for a password.
    pub(super) challenges: AtomicBool,
    pub(super) asked: Mutex<Vec<String>>,
    /// Dialogues that polkit is to end.
    pub(super) ended: Mutex<Vec<String>>,
    /// Questions in flight now, and the most that were.
    pub(super) open: AtomicUsize,
    pub(super) most: AtomicUsize,
}

pub(super) struct Daemon(Arc<Script>);

#[zbus::interface(name = "org.freedesktop.DBus")]
impl Daemon {
    /// `:1.root` is root's, all others are users'.
    async fn get_connection_credentials(&self, name: &str) -> HashMap<String, Variant<'static>> {
        assert!(name.starts_with(":1."), "{name}");
        self.0.lookups.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(self.0.thinks.load(Ordering::Relaxed))).await;
        let uid = match name {
            ":1.root" => 0,
            _ => self.0.uid.load(Ordering::Relaxed),
        };
        HashMap::from([("UnixUserID".to_owned(), Variant::from(uid))])
    }
}

pub(super) struct Polkit(Arc<Script>);

#[zbus::interface(name = "org.freedesktop.PolicyKit1.Authority")]
impl Polkit {
    async fn check_authorization(
        &self,
        subject: (String, HashMap<String, Variant<'_>>),
        action: &str,
        _details: HashMap<String, String>,
        flags: u32,
        cancellation: &str,
    ) -> fdo::Result<((bool, bool, HashMap<String, String>),)> {
        let name = subject.1.get("name").map(ToString::to_string);
        let question = format!(
            "{} {} {action} {flags} {cancellation}",
            subject.0,
            name.unwrap_or_default()
        );
        self.0.asked.lock().unwrap().push(question);
        let open = self.0.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.most.fetch_max(open, Ordering::Relaxed);
        let verdict = *self.0.verdict.lock().unwrap();
        let (granted, ms) = verdict.unwrap_or_default();
        sleep(Duration::from_millis(ms)).await;
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        if verdict.is_none() {
            return Err(fdo::Error::ServiceUnknown("no polkit".to_owned()));
        }
        let challenge = !granted && self.0.challenges.load(Ordering::Relaxed);
        Ok(((granted, challenge, HashMap::new()),))
    }

    fn cancel_check_authorization(&self, cancellation: String) {
        self.0.ended.lock().unwrap().push(cancellation);
    }
}

/// Both ends, and the configuration's folder.
pub(super) struct Pair {
    pub(super) script: Arc<Script>,
    /// Serves the object.
    ours: Connection,
    pub(super) theirs: Connection,
    pub(super) bus: Bus,
    /// Passes that the loop made.
    pub(super) passes: Arc<AtomicUsize>,
    pub(super) folder: tempfile::TempDir,
}

pub(super) fn document(role: &str, health: &str) -> Document {
    let text = format!(
        r#"{{"version":1,"pid":1,"role":"{role}","mode":"nat","interface":"eth0","address":"172.28.16.5","gateway":null,"network-file":"/etc/x","forwards":null,"windows-address":null,"passes":7,"last-pass-us":1,"health":[{health}],
        "served":[{{"name":"ssh","protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"backend":null,"state":"down"}}]}}"#
    );
    serde_json::from_str(&text).unwrap()
}

impl Pair {
    /// With a loop that makes passes of which each says one thing.
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("w.toml");
        std::fs::write(&main, "[mtu]\nvalue = 1280\n").unwrap();
        let source = Source::File(main);
        let (handle, mut queue) = requests(source.clone());
        let bus = Bus::new(handle);
        bus.publish(document("active", ""), Vec::new());
        let passes = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&passes);
        tokio::spawn(async move {
            loop {
                let requested = queue.requested().await;
                if matches!(requested, Requested::Pass { reload: true, .. }) {
                    let loaded = crate::config::Settings::load(&source);
                    queue.set_reloaded(loaded.map(drop).map_err(|error| error.to_string()));
                }
                // A pass that takes its time, so that requests meet in it.
                sleep(Duration::from_millis(20)).await;
                counted.fetch_add(1, Ordering::Relaxed);
                queue.answer(&["eth0 mtu 1280 -> 1340".to_owned()]);
            }
        });
        let script = Arc::new(Script::default());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ours = Builder::unix_stream(ours)
            .server(zbus::Guid::generate())
            .p2p()
            .serve_at(PATH, interface::Agent1::new(Arc::clone(&bus.shared)))
            .build();
        let theirs = Builder::unix_stream(theirs)
            .p2p()
            .serve_at("/org/freedesktop/DBus", Daemon(Arc::clone(&script)))
            .serve_at(
                "/org/freedesktop/PolicyKit1/Authority",
                Polkit(Arc::clone(&script)),
            )
            .build();
        let (ours, theirs) = tokio::join!(ours, theirs);
        Self {
            script,
            ours: ours.unwrap(),
            theirs: theirs.unwrap(),
            bus,
            passes,
            folder,
        }
    }

    /// The properties whose changes are signalled.
    pub(super) async fn signalled(&self) -> properties::Properties {
        let server = self.ours.object_server();
        let agent = server
            .interface::<_, interface::Agent1>(PATH)
            .await
            .unwrap();
        agent.get().await.properties()
    }

    pub(super) fn is(&self, uid: u32, verdict: Option<(bool, u64)>) {
        self.script.uid.store(uid, Ordering::Relaxed);
        *self.script.verdict.lock().unwrap() = verdict;
    }

    /// A call of one of the agent's methods as `sender`; its answer, or the
    /// error's name without its start, and its text.
    pub(super) async fn call<B>(
        &self,
        sender: &str,
        method: &str,
        flags: Option<Flags>,
        body: &B,
    ) -> Result<Message, (String, String)>
    where
        B: serde::Serialize + DynamicType,
    {
        let mut call = Message::method_call(PATH, method)
            .interface(NAME)
            .sender(sender);
        if let Some(flags) = flags {
            call = call.with_flags(flags);
        }
        let call = call.build(body).unwrap();
        let serial = call.primary_header().serial_num();
        let mut answers = MessageStream::from(&self.theirs);
        self.theirs.send(&call).await.unwrap();
        let answer = async {
            loop {
                let answer = answers.next().await.unwrap().unwrap();
                if answer.header().reply_serial() == Some(serial) {
                    return answer;
                }
            }
        };
        let answer = timeout(LONG, answer).await.unwrap();
        if answer.message_type() == Type::MethodReturn {
            return Ok(answer);
        }
        let name = answer.header().error_name().unwrap().to_string();
        let own = name.strip_prefix("org.wslmesh.Agent1.Error.");
        let text: String = answer.body().deserialize().unwrap();
        Err((own.unwrap_or(&name).to_owned(), text))
    }

    /// A call without arguments by `:1.7`.
    pub(super) async fn ask(&self, method: &str) -> Result<Message, (String, String)> {
        self.call(":1.7", method, None, &()).await
    }

    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.script.asked.lock().unwrap())
    }
}
