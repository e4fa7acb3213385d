//! What a service says of itself to the socket in `NOTIFY_SOCKET`. Source: sd_notify(3).
//!
//! Invariants: the file `notified` is there exactly while the process that runs now has said last that it is ready; only the
//! service's own user may speak; whatever else it says is left alone.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use footplate_drivers::disk;
use footplate_drivers::service::Folder;
use footplate_drivers::shell::User;

use super::Fatal;

/// The longest path that a socket may have. Source: unix(7).
const PATH_BYTES_MAX: usize = 107;
/// The longest notice that is read; what a service needs has a few words.
const NOTICE_BYTES_MAX: usize = 4096;
/// How many notices are read at once: one that never stops talking cannot keep us from orders.
const NOTICES_MAX: usize = 64;

/// The socket, and the file that says what came of it.
pub(super) struct Notices {
    pub(super) socket: UnixDatagram,
    path: PathBuf,
    notified: PathBuf,
}

impl Notices {
    /// Opens the socket in place of a former keeper's. What was said to that one holds.
    pub(super) fn open(folder: &Folder, user: Option<&User>) -> Result<Self, Fatal> {
        let path = folder.notices();
        let length = path.as_os_str().as_bytes().len();
        if length > PATH_BYTES_MAX {
            let why = format!(
                "the path of the socket that it says to that it is ready has {length} bytes, and {PATH_BYTES_MAX} is the most: \
                 choose a shorter folder for the agent"
            );
            return Err(why.into());
        }
        disk::remove_file(&path)?;
        let socket = UnixDatagram::bind(&path).map_err(disk::failed("open", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if let Some(user) = user {
            chown(&path, Some(user.uid), Some(user.gid)).map_err(disk::failed("give away", &path))?;
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path, notified: folder.notified() })
    }

    /// Returns what the service finds in `NOTIFY_SOCKET`.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets what a process said that is gone.
    pub(super) fn forget(&self) -> std::io::Result<()> {
        let mut unread = [0; 1];
        // No more can wait in it than were sent before its process was gone.
        let mut notices = std::iter::repeat_with(|| self.socket.recv(&mut unread)).take(NOTICES_MAX);
        while notices.next().is_some_and(|received| received.is_ok()) {}
        match fs::remove_file(&self.notified) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes note of what was said since the last look.
    pub(super) fn read(&self) -> std::io::Result<()> {
        let mut notice = [0; NOTICE_BYTES_MAX];
        for _ in 0..NOTICES_MAX {
            let Ok(bytes) = self.socket.recv(&mut notice) else { return Ok(()) };
            for word in notice[..bytes].split(|byte| *byte == b'\n') {
                match word {
                    b"READY=1" => drop(File::create(&self.notified)?),
                    b"STOPPING=1" => disk::remove_file(&self.notified).map_err(|error| error.source)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}
