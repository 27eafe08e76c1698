//! How often the holders of tokens are here.

use std::collections::BTreeMap;
use std::sync::Arc;

use bicast_shared::auth::Grant;

use super::ViewerId;

/// How often a holder may be here whose token does not say it: more screens than anybody has, and far fewer than fill a server.
const MOST_OF_ONE: u32 = 32;

/// The viewers that are here, by the id that their tokens give their holders. Who holds a token without one cannot be told from others
/// with the same.
#[derive(Debug, Default)]
pub(super) struct People(BTreeMap<Arc<str>, Vec<ViewerId>>);

fn name(grant: Option<&Grant>) -> Option<&Arc<str>> {
    grant?.viewer.as_ref()
}

impl People {
    /// Where a holder is here as often as it may be: how often that is, and as which viewers, the oldest first.
    pub(super) fn full(&self, grant: Option<&Grant>) -> Option<(u32, &[ViewerId])> {
        let here = self.0.get(name(grant)?)?;
        let most = grant?.viewers.unwrap_or(MOST_OF_ONE);
        (here.len() >= most as usize).then_some((most, here))
    }

    pub(super) fn come(&mut self, grant: Option<&Grant>, id: ViewerId) {
        if let Some(name) = name(grant) {
            self.0.entry(name.clone()).or_default().push(id);
        }
    }

    pub(super) fn go(&mut self, grant: Option<&Grant>, id: &ViewerId) {
        let Some(name) = name(grant) else { return };
        let Some(here) = self.0.get_mut(name) else { return };
        here.retain(|one| one != id);
        if here.is_empty() {
            self.0.remove(name);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
