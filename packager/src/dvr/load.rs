//! At start: what a process before has left, and what of it can be served.

use std::collections::{BTreeMap, BTreeSet};

use bicast_shared::time::ProgramTime;
use futures_util::stream::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tracing::{info, warn};

use super::{Dvr, Error, Folder};
use crate::core::keeper::Keeper;
use crate::core::record::{self, FORM, InstanceRecord, Restored};

/// An instance that can be served.
pub(crate) struct Loaded {
    pub(crate) restored: Restored,
    pub(crate) keeper: Keeper,
    /// When it was over, if it is.
    pub(crate) over: Option<ProgramTime>,
}

/// What lies in a folder.
enum Found {
    /// An instance that can be served.
    Here(Box<Loaded>),
    /// One of which nothing can be served any more.
    Old,
    /// Something that is not ours, or of another version.
    Foreign,
}

impl Loaded {
    /// Whether it is the feed that began then.
    pub(crate) fn is_of(&self, since: ProgramTime) -> bool {
        self.restored.resumption.past.since == since
    }
}

impl Dvr {
    /// The newest instance of every feed that is not too old to be served at `now`. All others are deleted; what is not ours is
    /// left alone.
    pub(crate) async fn load(&self, now: ProgramTime) -> Vec<Loaded> {
        let mut loaded = Vec::new();
        for feed in self.folders(None).await {
            let mut instances = Vec::new();
            for path in self.folders(Some(&feed)).await {
                let folder = Folder(path);
                match self.instance(&folder, now).await {
                    Ok(Found::Here(one)) => instances.push((folder, *one)),
                    Ok(Found::Old) => self.discard(&folder).await,
                    Ok(Found::Foreign) => {}
                    Err(error) => {
                        warn!(folder = %folder.0, %error, "this part of the DVR cannot be read and is left alone");
                    }
                }
            }
            instances.sort_by_key(|(_, one)| (one.over.is_none(), one.restored.newest));
            let newest = instances.pop();
            for (folder, _) in instances {
                self.discard(&folder).await;
            }
            loaded.extend(newest.map(|(_, one)| one));
        }
        loaded
    }

    async fn folders(&self, under: Option<&Path>) -> Vec<Path> {
        match self.objects.list_with_delimiter(under).await {
            Ok(found) => found.common_prefixes,
            Err(error) => {
                warn!(error = %Error::from(error), "the DVR cannot be listed");
                Vec::new()
            }
        }
    }

    async fn discard(&self, folder: &Folder) {
        info!(folder = %folder.0, "an old part of the DVR is deleted");
        if let Err(error) = self.delete_all(folder).await {
            warn!(folder = %folder.0, %error, "an old part of the DVR cannot be deleted");
        }
    }

    /// What lies in a folder. Only what has our record is ours to delete: it is written first and deleted last.
    async fn instance(&self, folder: &Folder, now: ProgramTime) -> Result<Found, Error> {
        let bytes = match self.objects.get(&folder.record()).await {
            Ok(got) => got.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(Found::Foreign),
            Err(error) => return Err(error.into()),
        };
        let record: InstanceRecord = serde_json::from_slice(&bytes)?;
        let in_place = Folder::new(&record.feed.id, &record.instance) == *folder;
        if record.form != FORM || !in_place {
            return Ok(Found::Foreign);
        }
        let mut found = BTreeMap::new();
        for rendition in &record.renditions {
            found.insert(rendition.name.clone(), self.rendition(folder, &rendition.name).await?);
        }
        let complete =
            InstanceRecord { complete: record.complete || record.over.is_some(), ..record.clone() };
        let Some(restored) = record::restore(&complete, &found, now) else { return Ok(Found::Old) };
        let window = i64::try_from(record.feed.settings.window.as_nanos()).unwrap_or(i64::MAX);
        let since = record.over.unwrap_or(restored.newest);
        if now - since >= window {
            return Ok(Found::Old);
        }
        let over = record.over;
        Ok(Found::Here(Box::new(Loaded { restored, keeper: Keeper::found(record, &found), over })))
    }

    async fn rendition(&self, folder: &Folder, name: &str) -> Result<record::Found, Error> {
        let mut found = record::Found::default();
        let here = folder.0.clone().join(name);
        let objects: Vec<_> = self.objects.list(Some(&here)).try_collect().await?;
        for object in objects {
            let path = object.location;
            let file = path.filename().unwrap_or_default();
            if let Some(number) = file.strip_suffix(".m4s").and_then(|number| number.parse().ok()) {
                found.sizes.insert(number, usize::try_from(object.size).unwrap_or(usize::MAX));
            } else if let Some(number) = init_number(file) {
                found.inits.insert(number, self.objects.get(&path).await?.bytes().await?);
            } else if file.ends_with(".json") {
                let page = self.objects.get(&path).await?.bytes().await?;
                let records: Vec<record::SegmentRecord> = serde_json::from_slice(&page)?;
                found.segments.extend(records.into_iter().map(|record| (record.number, record)));
            }
        }
        let written: BTreeSet<u64> = found.segments.keys().copied().collect();
        found.mend();
        let lost = written.len() - found.segments.len();
        if lost > 0 {
            info!(folder = %here, segments = lost, "segments of the DVR lie before one that is not whole");
        }
        Ok(found)
    }
}

fn init_number(file: &str) -> Option<u32> {
    file.strip_prefix("init")?.strip_suffix(".mp4")?.parse().ok()
}
