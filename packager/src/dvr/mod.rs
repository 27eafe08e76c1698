//! Segments on disk: the window that viewers can rewind over, beyond what the memory holds, and over a restart.
//!
//! ```text
//! DIRECTORY/demo/19ac83b1f2/instance.json                what another process has to know
//!                           video0/init0.mp4, 17.m4s     as they are served
//!                                  index/0.json          records of 32 segments each
//! ```
//!
//! | file | does |
//! |---|---|
//! | `keep` | a task per feed: makes the store what the playlists list, one step of `core::keeper` at a time |
//! | `load` | at start: what is there |
//!
//! The disk stands behind [`ObjectStore`], of which a bucket would be another kind.

pub(crate) mod keep;
pub(crate) mod load;

use std::error::Error as StdError;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bicast_shared::id::FeedId;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::core::keeper::Name;

/// Bytes read at once: a slow client holds no more of a segment in memory.
const CHUNK: usize = 256 << 10;
/// In the folder of a running process; held so that a second one keeps off.
const LOCK: &str = ".bicast-lock";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DvrError {
    /// It could not be made, or nothing can be written there.
    #[error("the folder {} (setting packager.dvr.directory) cannot be written to: {source}", .directory.display())]
    Unusable {
        /// The folder.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the folder {} (setting packager.dvr.directory) is in use by another bicast: each needs its own", .directory.display())]
    InUse {
        /// The folder.
        directory: PathBuf,
    },
}

/// The store. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Dvr {
    objects: Arc<dyn ObjectStore>,
    /// None for what is no folder.
    _lock: Option<Arc<File>>,
}

/// What is stored of an instance lies under this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder(Path);

impl Folder {
    pub(crate) fn new(feed: &FeedId, instance: &str) -> Self {
        Self(Path::from_iter([feed.as_str(), instance]))
    }

    fn record(&self) -> Path {
        self.0.clone().join("instance.json")
    }

    fn object(&self, rendition: &str, name: Name) -> Path {
        let folder = self.0.clone().join(rendition);
        match name {
            Name::Init(number) => folder.join(format!("init{number}.mp4")),
            Name::Segment(number) => folder.join(format!("{number}.m4s")),
            Name::Page(page) => folder.join("index").join(format!("{page}.json")),
        }
    }
}

impl Dvr {
    /// Opens the folder, and makes it where it is not there.
    pub(crate) fn open(directory: &std::path::Path) -> Result<Self, DvrError> {
        let unusable = |source| DvrError::Unusable { directory: directory.into(), source };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let lock = File::create(directory.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(DvrError::InUse { directory: directory.into() });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let disk =
            LocalFileSystem::new_with_prefix(directory).map_err(|error| unusable(io::Error::other(error)))?;
        Ok(Self { objects: Arc::new(disk.with_automatic_cleanup(true)), _lock: Some(Arc::new(lock)) })
    }

    /// A part of a segment, of which so much has been read that an error would have shown.
    pub(crate) async fn read(
        &self,
        folder: &Folder,
        rendition: &str,
        number: u64,
        range: Range<usize>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let path = folder.object(rendition, Name::Segment(number));
        let first = range.start..range.end.min(range.start.saturating_add(CHUNK));
        let begin = self.get(&path, first.clone()).await?;
        let rest = stream::unfold((self.clone(), path, first.end), move |(dvr, path, at)| async move {
            let next = at..range.end.min(at.saturating_add(CHUNK));
            if next.is_empty() {
                return None;
            }
            let got = dvr.get(&path, next.clone()).await;
            let at = if got.is_ok() { next.end } else { range.end };
            Some((got, (dvr, path, at)))
        });
        Ok(stream::iter([Ok(begin)]).chain(rest).boxed())
    }

    /// A small part of a segment.
    pub(crate) async fn read_once(
        &self,
        folder: &Folder,
        rendition: &str,
        number: u64,
        range: Range<usize>,
    ) -> Result<Bytes, Error> {
        self.get(&folder.object(rendition, Name::Segment(number)), range).await
    }

    async fn get(&self, path: &Path, range: Range<usize>) -> Result<Bytes, Error> {
        let wanted = range.len();
        let got = self.objects.get_range(path, range.start as u64..range.end as u64).await?;
        // What is told in Content-Length has to come.
        if got.len() == wanted { Ok(got) } else { Err(Error::Short) }
    }

    async fn put(&self, path: &Path, data: Bytes) -> Result<(), Error> {
        self.objects.put(path, PutPayload::from_bytes(data)).await?;
        Ok(())
    }

    /// Deletes an object; one that is not there is as good as deleted.
    async fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes everything of an instance: its record last, which names it to another process.
    pub(crate) async fn delete_all(&self, folder: &Folder) -> Result<(), Error> {
        let record = folder.record();
        let mut all: Vec<Path> =
            self.objects.list(Some(&folder.0)).map_ok(|meta| meta.location).try_collect().await?;
        all.sort_by_key(|path| *path == record);
        for path in all {
            self.delete(&path).await?;
        }
        Ok(())
    }
}

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The store said so.
    #[error("{}", in_words(.0))]
    Store(#[from] object_store::Error),
    /// It is shorter than it was when it was written.
    #[error("a stored segment is shorter than it was")]
    Short,
    /// It is not what was written.
    #[error("a record cannot be read: {0}")]
    Record(#[from] serde_json::Error),
}

impl Error {
    /// Whether it is not there any more.
    pub(crate) const fn is_gone(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }

    /// Whether deleting something would help.
    pub(crate) fn is_full(&self) -> bool {
        let Self::Store(error) = self else { return false };
        let full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        system(error).is_some_and(|error| full(error.kind()))
    }
}

/// What the system said, where it did.
fn system(error: &object_store::Error) -> Option<&io::Error> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// Without the paths of this machine: users of the API read it.
fn in_words(error: &object_store::Error) -> String {
    system(error).map_or_else(|| "the store does not answer".to_owned(), ToString::to_string)
}
