//! What the bus itself knows of names and connections.

use std::time::Duration;

use tokio::time::timeout;
use zbus::{
    Connection, MatchRule, Message, MessageStream,
    fdo::{ConnectionCredentials, DBusProxy},
    message::Type as Kind,
    names::BusName,
};

const BUS: &str = "org.freedesktop.DBus";

/// Longest wait for the bus.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The user of a connection; `None` where the bus does not say.
pub(super) async fn user(bus: &Connection, name: &str) -> Option<u32> {
    credentials(bus, name).await?.unix_user_id()
}

/// Who owns a name on the bus, for a person.
pub(super) async fn holder(bus: &Connection, name: &str) -> String {
    let credentials = credentials(bus, name).await.unwrap_or_default();
    match (credentials.process_id(), credentials.unix_user_id()) {
        (Some(process), Some(user)) => format!("process {process} of user {user} has it"),
        (_, Some(user)) => format!("a process of user {user} has it"),
        (_, None) => "another program has it".to_owned(),
    }
}

/// `None` where the name has no owner, and where the bus does not answer.
async fn credentials(bus: &Connection, name: &str) -> Option<ConnectionCredentials> {
    let name = BusName::try_from(name).ok()?;
    let asked = async {
        let daemon = DBusProxy::new(bus).await?;
        daemon.get_connection_credentials(name).await
    };
    timeout(TIMEOUT, asked).await.ok()?.ok()
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

/// The owner of a name now; `None` where the signal is not from the bus: any program
/// may send one to the agent alone.
pub(super) fn new_owner(change: &Message) -> Option<String> {
    let header = change.header();
    let sender = header.sender().map(|sender| sender.as_str());
    let body = change.body();
    let (_, _, owner): (&str, &str, &str) = body.deserialize().ok()?;
    (sender == Some(BUS)).then(|| owner.to_owned())
}
