//! gvisor-tap-vsock's HTTP API on a Unix socket: ports of Windows that lead to this
//! distribution, for as long as this process lives. Its clients such as `curl` and Podman's
//! tools know it from there (<https://github.com/containers/gvisor-tap-vsock>).

mod http;
mod request;

use std::{future::pending, path::Path, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{net::UnixStream, sync::Semaphore, time::timeout};

use self::{
    http::{Reply, Request},
    request::{Call, exposed},
};
use super::{
    forwards::{ExposeError, Forwards, in_words},
    orders::{Socket, open},
};
use crate::model::{TunnelForward, tunnel_socket};

/// Requests at one time. Further clients wait to be accepted.
const CLIENTS: usize = 16;
/// For one client, from its first byte to the end of the answer.
const CLIENT: Duration = Duration::from_secs(5);
/// How long the switch may take to say whether it listens.
const SWITCH: Duration = Duration::from_secs(2);

/// Makes the socket; `runtime` is the tunnel's or the agent's runtime directory. Its group is
/// this process's: the unit's is `wslmesh`.
pub(super) fn listen(runtime: &Path) -> Option<Socket> {
    open(tunnel_socket(runtime, "api.sock"), 0o660)
}

/// Serves clients, for ever.
pub(super) async fn serve(socket: Option<Socket>, forwards: Forwards) {
    let Some(socket) = socket else {
        return pending().await;
    };
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        // It is never closed.
        let permit = Arc::clone(&clients).acquire_owned().await;
        let stream = socket.accept().await;
        let forwards = forwards.clone();
        tokio::spawn(async move {
            // One that is too slow is left alone.
            timeout(CLIENT, client(stream, &forwards))
                .await
                .unwrap_or_default();
            drop(permit);
        });
    }
}

async fn client(mut stream: UnixStream, forwards: &Forwards) {
    let reply = match http::read(&mut stream).await {
        Ok(request) => answer(&request, forwards).await,
        Err(http::Unreadable::Reply(reply)) => reply,
        Err(http::Unreadable::Gone) => return,
    };
    // It may have gone.
    http::write(&mut stream, &reply).await.unwrap_or_default();
}

async fn answer(request: &Request, forwards: &Forwards) -> Reply {
    match request::call(&request.method, &request.path, &request.body) {
        Err(reply) => reply,
        Ok(Call::Expose(forward)) => expose(forward, forwards).await,
        Ok(Call::Unexpose(at)) => match forwards.unexpose(at) {
            Ok(()) => {
                tracing::info!(event = "tunnel", "the API removed {at}");
                Reply::empty()
            }
            Err(error) => refused(&error),
        },
        Ok(Call::All) => {
            let all: Vec<_> = forwards.exposed().iter().map(exposed).collect();
            Reply::json(&json!(all))
        }
        Ok(Call::Stats) => Reply::json(&request::stats(&forwards.counters())),
    }
}

/// Listens, or says why that cannot be. Without a switch it listens once there is one.
async fn expose(forward: TunnelForward, forwards: &Forwards) -> Reply {
    let at = forward.listen;
    if let Err(error) = forwards.expose(forward) {
        return refused(&error);
    }
    let failure = timeout(SWITCH, forwards.settled(at)).await.unwrap_or(None);
    if let Some(failure) = failure {
        forwards.unexpose(at).unwrap_or_default();
        return Reply::text(
            409,
            &format!("cannot listen on {at}: {}", in_words(failure)),
        );
    }
    let to = forward.guest_port;
    tracing::info!(event = "tunnel", "the API has {at} forwarded to port {to}");
    Reply::empty()
}

fn refused(error: &ExposeError) -> Reply {
    let status = match error {
        ExposeError::NotExposed(_) => 404,
        _ => 409,
    };
    Reply::text(status, &error.to_string())
}

#[cfg(test)]
mod tests;
