//! Asking WireGuard devices off the loop.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use crate::{
    model::{InterfaceName, LinkKind},
    wireguard::WireGuardError,
};

/// Asks devices in threads and remembers which questions hang: a blocking call
/// cannot be taken back, so a device is not asked again while one is out.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    out: Arc<Mutex<BTreeSet<InterfaceName>>>,
}

impl Asked {
    /// The answer to one question within this time; else why there is none.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        device: &InterfaceName,
        kind: LinkKind,
        deadline: Duration,
        question: impl FnOnce(&InterfaceName, LinkKind) -> Result<T, WireGuardError> + Send + 'static,
    ) -> Result<T, String> {
        let name = device.clone();
        if !self
            .out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.clone())
        {
            return Err(format!("{name} has not answered an earlier question"));
        }
        let out = Arc::clone(&self.out);
        let call = spawn_blocking(move || {
            let answer = question(&name, kind);
            out.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&name);
            answer
        });
        match timeout(deadline, call).await {
            Ok(Ok(answer)) => answer.map_err(|error| error.to_string()),
            Ok(Err(_)) | Err(_) => Err(format!(
                "{device} did not answer within {} ms",
                deadline.as_millis()
            )),
        }
    }
}
