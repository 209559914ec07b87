//! Looking at hooks off the loop: a symlink may lead to a Windows drive or a
//! share that does not answer, and then a call has no end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

/// Longest wait for one look.
const LIMIT: Duration = Duration::from_secs(10);

/// The disk, looked at by one thread at a time. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Whether a thread is at it. One that hangs in the kernel cannot be ended,
    /// and there shall not be a second.
    busy: Arc<AtomicBool>,
}

/// Held by the thread.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Disk {
    /// Looks, or says why there is no answer.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        self.within(LIMIT, call).await
    }

    async fn within<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let silent = |what: &str| {
            format!(
                "{what}: does a symlink lead to a drive or a share that does not answer? (remove it, or copy the program here)"
            )
        };
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(silent("an earlier look at the hooks still hangs"));
        }
        let busy = Busy(Arc::clone(&self.busy));
        let thread = spawn_blocking(move || {
            let _busy = busy;
            call()
        });
        match timeout(limit, thread).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(silent(&format!(
                "there was no answer within {} s",
                limit.as_secs()
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_is_given_up_and_gets_no_second() {
        let disk = Disk::default();
        let (release, held) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        let hangs = move || {
            let gone = held.recv().is_err();
            ended.send(gone).unwrap();
        };
        let first = disk.within(Duration::from_millis(10), hangs).await;
        assert!(first.unwrap_err().starts_with("there was no answer"));
        let second = disk.clone().look(|| 2).await;
        assert!(second.unwrap_err().starts_with("an earlier look"));
        drop(release);
        assert!(end.recv().unwrap());
        while disk.busy.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        assert_eq!(disk.look(|| 3).await, Ok(3));
    }
}
