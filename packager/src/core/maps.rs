//! The versions of a feed's mapping to UTC that may still be asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use bicast_shared::feed::info::TimelineMap;

/// Versions kept: a new one comes with every segment at most, and a packet is a few hundred milliseconds old.
const KEPT: usize = 16;

/// Known versions, oldest first.
#[derive(Debug, Default)]
pub struct Maps(VecDeque<Arc<TimelineMap>>);

impl Maps {
    /// Takes the current version.
    pub fn handle_map(&mut self, map: &Arc<TimelineMap>) {
        if self.0.back().is_some_and(|newest| newest.version >= map.version) {
            return;
        }
        self.0.push_back(map.clone());
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// A version; the nearest older one when it was never seen (versions can follow each other faster than they are
    /// looked at), and the oldest kept when there is none.
    #[must_use]
    pub fn version(&self, version: u32) -> Option<Arc<TimelineMap>> {
        let older = self.0.iter().rev().find(|map| map.version <= version);
        older.or_else(|| self.0.front()).cloned()
    }
}
