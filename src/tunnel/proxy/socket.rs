//! The socket on which a guest agent says what is published.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixStream as StdStream,
    },
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};
use tokio::net::{UnixListener, UnixStream};

use crate::tunnel::TunnelError;

/// A Unix socket with mode 0660, whose file is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Of the file, which another one may have replaced.
    inode: u64,
}

impl Socket {
    /// Makes it, in the place of one that nothing serves any more.
    pub(super) fn bind(path: &Path) -> Result<Self, TunnelError> {
        let refused = |error| TunnelError::Listen(path.display().to_string(), error);
        match fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(refused(io::Error::other(
                    "there is a file that is no socket",
                )));
            }
            Ok(_) if StdStream::connect(path).is_ok() => {
                return Err(refused(io::Error::other("another program serves it")));
            }
            Ok(_) => fs::remove_file(path).map_err(refused)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
        }
        // From its first moment on. No other thread makes files.
        let before = umask(Mode::from_raw_mode(0o117));
        let bound = UnixListener::bind(path);
        umask(before);
        let listener = bound.map_err(refused)?;
        let inode = fs::symlink_metadata(path).map_err(refused)?.ino();
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
        })
    }

    /// The next sender. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}
