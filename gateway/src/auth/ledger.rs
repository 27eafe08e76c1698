//! What was taken back, in memory and in a file: a restart must not give it back.
//!
//! A line of JSON each, written before the request is answered. At the start the file is read and written anew with what is still to be
//! remembered, so it grows by what is taken back in between.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bicast_shared::auth::{Grant, Revocation, Revoked};
use bicast_shared::clock;
use parking_lot::{Mutex, RwLock};

use super::lines::Lines;
use crate::files;

/// Lines have less than 1,100 bytes, and there are at most twice [`Revoked::MOST`] of them to be remembered.
const LARGEST: usize = 256 << 20;

/// What was taken back. Cloning gives another handle.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Written when an operator takes something back; never held over an await.
    revoked: RwLock<Revoked>,
    /// None: it is remembered until the process ends.
    file: Option<Mutex<Lines<File>>>,
}

/// Why something was not taken back as it should be.
#[derive(Debug)]
pub(super) enum Failed {
    /// There is no more room: it was not taken back.
    Full,
    /// It was taken back, and is not in the file.
    Unwritten(io::Error),
}

impl Ledger {
    /// Reads what was taken back before; an empty path is none.
    ///
    /// # Errors
    /// A file that cannot be read or written, and one that is not ours.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Ok(Self::default());
        }
        let mut revoked = Revoked::default();
        let text = match files::read(path, LARGEST) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| io::Error::other("it is not text"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let whole = text.ends_with('\n') || text.is_empty();
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            match serde_json::from_str::<Revocation>(line) {
                // More than can be remembered: the newest ones come last, and nothing that still counts gives way.
                Ok(one) => revoked.take(&one).map_err(io::Error::other)?,
                // Cut off while it was written: its request was not answered.
                Err(_) if n + 1 == lines.len() && !whole => {}
                Err(error) => {
                    return Err(io::Error::other(format!("line {} cannot be read ({error})", n + 1)));
                }
            }
        }
        let file = rewrite(path, &revoked)?;
        Ok(Self(Arc::new(Inner { revoked: RwLock::new(revoked), file: Some(Mutex::new(file)) })))
    }

    /// Takes something back, and writes it down. Waits for the disk: not to be called where others wait.
    pub(super) fn take(&self, one: &Revocation) -> Result<(), Failed> {
        self.0.revoked.write().take(one).map_err(|_| Failed::Full)?;
        let Some(file) = &self.0.file else { return Ok(()) };
        let write = || {
            let mut line = serde_json::to_vec(one)?;
            line.push(b'\n');
            file.lock().add(&line)
        };
        write().map_err(Failed::Unwritten)
    }

    /// Whether this was taken back.
    pub(super) fn includes(&self, grant: &Grant) -> bool {
        self.0.revoked.read().includes(grant)
    }
}

/// Puts a file with all that is still to be remembered in the place of the one that is there; whoever loses power has the one or the other.
fn rewrite(path: &Path, revoked: &Revoked) -> io::Result<Lines<File>> {
    let mut beside = PathBuf::from(path).into_os_string();
    beside.push(".new");
    let mut text = Vec::new();
    for one in revoked.all(clock::utc()) {
        serde_json::to_writer(&mut text, &one)?;
        text.push(b'\n');
    }
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(&beside)?;
    file.write_all(&text)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    Ok(Lines::new(OpenOptions::new().append(true).open(path)?, text.len() as u64))
}

#[cfg(test)]
mod tests {
    use bicast_shared::auth::Taken;

    use super::*;

    #[test]
    fn what_was_taken_back_stays_so_over_a_restart() {
        let path = std::env::temp_dir().join(format!("bicast-ledger-{}", std::process::id()));
        let now = clock::utc().unix_seconds();
        let one = |id: &str, at: i64| Revocation { what: Taken::Token(id.to_owned()), at };
        let known = |ledger: &Ledger| {
            let revoked = ledger.0.revoked.read();
            let mut all: Vec<_> = revoked.all(clock::utc()).collect();
            all.sort_by_key(|one| one.at);
            all
        };
        let (old, new) = (one("old", now - 8 * 24 * 3600), one("new", now - 5));
        let first = Ledger::open(&path).unwrap();
        first.take(&old).unwrap();
        first.take(&new).unwrap();
        drop(first);
        // The process was killed while it wrote.
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + r#"{"token":"cut o"#).unwrap();
        let second = Ledger::open(&path).unwrap();
        assert_eq!(known(&second), std::slice::from_ref(&new));
        assert_eq!(
            std::fs::read_to_string(&path).unwrap().lines().count(),
            1,
            "what need not be remembered is gone"
        );
        second.take(&one("more", now)).unwrap();
        assert_eq!(known(&Ledger::open(&path).unwrap()).len(), 2);
        std::fs::write(&path, "[settings]\n").unwrap();
        let refused = Ledger::open(&path).err().unwrap().to_string();
        assert!(refused.contains("line 1"), "{refused}");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "[settings]\n",
            "somebody else's file is left alone"
        );
        std::fs::remove_file(&path).unwrap();
        let nowhere = Ledger::open(&path.join("x"));
        assert!(nowhere.is_err(), "a place where nothing can be written is said at the start");
    }
}
