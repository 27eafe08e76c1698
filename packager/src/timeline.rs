//! Answers where moments of a feed lie: from the snapshots, and for what has left the memory from the store.

use std::sync::Arc;

use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bicast_shared::status::timeline::{Answer, Asked, Located, Outline, OutsideWindow, TimelineSource};

use crate::core::cmaf::probe;
use crate::core::timeline::{Lookup, Search, Timeline};
use crate::dvr::{Error, Folder};
use crate::store::{FeedEntry, Published, Store};

/// Bytes of a stored fragment that are looked at: what describes the samples of the longest part that is written has a tenth of it.
const HEAD: usize = 16 << 10;

/// See the module's description.
pub(crate) struct Positions(pub(crate) Arc<Store>);

impl TimelineSource for Positions {
    fn outline(&self, feed: &FeedId) -> Option<Outline> {
        let published = self.0.feed(feed)?.served();
        Some(timeline(&published)?.outline())
    }

    fn locate(&self, feed: &FeedId, asked: Asked) -> Answer {
        let (store, feed) = (self.0.clone(), feed.clone());
        Box::pin(async move {
            let entry = store.feed(&feed)?;
            locate(&store, &entry, &feed, asked).await
        })
    }
}

fn timeline(published: &[Arc<Published>]) -> Option<Timeline<'_>> {
    Timeline::new(published.iter().map(|published| &published.snapshot))
}

async fn locate(
    store: &Store,
    entry: &FeedEntry,
    feed: &FeedId,
    asked: Asked,
) -> Option<Result<Located, OutsideWindow>> {
    let published = entry.served();
    let (mut located, lookups) = match timeline(&published)?.locate(feed, asked, clock::utc()) {
        Ok(found) => found,
        Err(outside) => return Some(Err(outside)),
    };
    for lookup in lookups {
        let Some(place) = located.places.get_mut(lookup.place) else { continue };
        match look_up(store, (feed, &located.instance, &place.rendition), &lookup).await {
            Ok(search) => Timeline::found(place, &search),
            // It has just been given up, or the disk has failed: the segment is known all the same.
            Err(error) => tracing::debug!(%feed, segment = lookup.number, %error, "cannot be looked into"),
        }
    }
    Some(Ok(located))
}

/// Goes from fragment to fragment of a stored segment. Reads no more of each than what describes it.
async fn look_up(
    store: &Store,
    (feed, instance, rendition): (&FeedId, &str, &str),
    lookup: &Lookup,
) -> Result<Search, Error> {
    // Nothing leaves the memory without a store.
    let dvr = store.dvr.as_ref().ok_or(Error::Short)?;
    let folder = Folder::new(feed, instance);
    let (mut search, mut at) = (lookup.search, 0);
    for index in 0.. {
        if at >= lookup.bytes {
            break;
        }
        let range = at..lookup.bytes.min(at + HEAD);
        let head = dvr.read_once(&folder, rendition, lookup.number, range).await?;
        let Some((length, samples)) = probe::fragment(&head) else { break };
        if !search.push(index, at, length, &samples) {
            break;
        }
        at += length;
    }
    Ok(search)
}
