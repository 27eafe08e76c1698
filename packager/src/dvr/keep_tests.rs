use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::{BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::*;
use bicast_shared::auth::DelayClasses;

use crate::config::Config;
use crate::core::keeper::tests::{record, snapshot};
use crate::store::Store;

/// A disk with so many bytes of room, which says `kind` when they are used up.
#[derive(Debug)]
struct Small {
    disk: InMemory,
    room: AtomicUsize,
    kind: io::ErrorKind,
}

impl fmt::Display for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a small disk")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Small {
    async fn put_opts(&self, at: &Path, data: PutPayload, options: PutOptions) -> Result<PutResult> {
        let taken = self.room.fetch_update(Ordering::AcqRel, Ordering::Acquire, |room| {
            room.checked_sub(data.content_length())
        });
        if taken.is_err() {
            return Err(object_store::Error::Generic {
                store: "small",
                source: Box::new(io::Error::from(self.kind)),
            });
        }
        self.disk.put_opts(at, data, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.disk.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.disk.get_opts(at, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.disk.delete_stream(paths)
    }

    fn list(&self, under: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.disk.list(under)
    }

    async fn list_with_delimiter(&self, under: Option<&Path>) -> Result<ListResult> {
        self.disk.list_with_delimiter(under).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.disk.copy_opts(from, to, options).await
    }
}

struct Rig {
    disk: Arc<Small>,
    kept: KeptFeed,
    entry: Arc<FeedEntry>,
    store: Store,
}

impl Rig {
    /// A feed that lists segments 0 to 9, and a disk without room that says `kind`.
    fn new(kind: io::ErrorKind) -> Self {
        let disk = Arc::new(Small { disk: InMemory::new(), room: AtomicUsize::new(0), kind });
        let dvr = Dvr { objects: disk.clone(), _lock: None };
        let (store, id) =
            (Store::new(Config::default(), None, DelayClasses::default()), "demo".parse().unwrap());
        let entry = store.begin(&id, Duration::from_secs(60));
        let keeper = Keeper::found(record(&snapshot(0, 10)), &BTreeMap::new());
        store.publish(&entry, snapshot(0, 10));
        let kept = KeptFeed::begin(dvr, (id, None), entry.clone(), keeper);
        Self { disk, kept, entry, store }
    }

    fn kept(&mut self) -> Kept {
        self.kept.0.as_mut().unwrap().kept.borrow_and_update().clone()
    }

    fn status(&self) -> DvrFeedStatus {
        self.kept.status(&self.entry.published.borrow().snapshot.renditions[0]).unwrap()
    }

    fn give_room(&self, bytes: usize) {
        self.disk.room.store(bytes, Ordering::Release);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_asks_for_room_and_is_written_again_when_there_is_some() {
    let mut rig = Rig::new(io::ErrorKind::StorageFull);
    rig.kept.changed().await;
    let (first, said) = (rig.kept(), rig.status());
    assert!(said.failing.unwrap().contains("no storage space"), "in words");
    let (rendition, count) = first.failing.unwrap().full.unwrap();
    assert_eq!((rendition.as_str(), said.stored_seconds), ("video0", 0.0));
    rig.kept.changed().await;
    let again = rig.kept().failing.unwrap().full;
    assert_eq!(again, Some(("video0".to_owned(), count + 1)), "room is asked for again");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        rig.kept().failing.unwrap().full,
        None,
        "but not for ever: the disk is not filled by this feed"
    );
    // Some room, and the oldest was given up.
    rig.give_room(1 << 20);
    rig.store.publish(&rig.entry, snapshot(3, 11));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = rig.kept();
    assert_eq!((after.failing, after.stored["video0"], after.instance.as_str()), (None, 10, "i1"));
    assert!(rig.status().stored_seconds > 6.0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_is_asked_again_and_nothing_is_given_up_for_it() {
    let mut rig = Rig::new(io::ErrorKind::PermissionDenied);
    rig.kept.changed().await;
    assert_eq!(rig.kept().failing.unwrap().full, None);
    rig.give_room(1 << 20);
    tokio::time::sleep(RETRY * 2).await;
    assert_eq!((rig.kept().failing, rig.kept().stored["video0"]), (None, 9));
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_does_not_wait_for_a_disk_that_fails() {
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied] {
        let mut rig = Rig::new(kind);
        rig.kept.changed().await;
        tokio::time::timeout(RETRY * 2, rig.kept.hold()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_ask_for_any_more_is_deleted() {
    let rig = Rig::new(io::ErrorKind::StorageFull);
    rig.give_room(1 << 20);
    tokio::time::sleep(RETRY * 2).await;
    assert!(!rig.disk.disk.list_with_delimiter(None).await.unwrap().common_prefixes.is_empty());
    rig.kept.forget().await;
    let left = rig.disk.disk.list_with_delimiter(None).await.unwrap();
    assert!(left.common_prefixes.is_empty() && left.objects.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_process_before_has_left_stays_until_it_is_published_again() {
    let rig = Rig::new(io::ErrorKind::StorageFull);
    rig.give_room(1 << 20);
    tokio::time::sleep(RETRY * 2).await;
    let Rig { disk, kept, store, .. } = rig;
    kept.hold().await;
    let objects = || async { disk.disk.list(None).collect::<Vec<_>>().await.len() };
    let left = objects().await;
    let (dvr, id) = (Dvr { objects: disk.clone(), _lock: None }, "demo".parse().unwrap());
    let entry = store.begin(&id, Duration::from_secs(60));
    let keeper = Keeper::found(record(&snapshot(0, 10)), &BTreeMap::new());
    let again = KeptFeed::begin(dvr, (id, None), entry.clone(), keeper);
    tokio::time::sleep(SWEEP * 2).await;
    assert_eq!(objects().await, left);
    store.publish(&entry, snapshot(0, 11));
    tokio::time::sleep(RETRY).await;
    assert_eq!(objects().await, left + 1, "and goes on");
    again.hold().await;
}
