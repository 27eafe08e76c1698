//! Rights that were taken back before they expired.

use std::collections::HashMap;
use std::time::Duration;

use super::policy::Grant;
use crate::time::ProgramTime;

/// The tokens and viewers that were revoked. Each is remembered for [`Revoked::KEPT`]: a token that holds for longer than that comes
/// back to life, so nobody should make such ones.
#[derive(Debug, Default)]
pub struct Revoked {
    /// By the token's id: when.
    tokens: HashMap<String, i64>,
    /// By the viewer's id: when. What was made later holds.
    viewers: HashMap<String, i64>,
}

impl Revoked {
    /// How long a revocation is remembered.
    pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
    /// How many of each are remembered.
    pub const MOST: usize = 100_000;

    /// Takes the token with this id back.
    ///
    /// # Errors
    /// Where as many as can be remembered are: forgetting one would let it in again.
    pub fn token(&mut self, id: &str, now: ProgramTime) -> Result<(), Full> {
        insert(&mut self.tokens, id, now.unix_seconds())
    }

    /// Takes everything back that a viewer has been given until now.
    ///
    /// # Errors
    /// As [`Self::token`].
    pub fn viewer(&mut self, id: &str, now: ProgramTime) -> Result<(), Full> {
        insert(&mut self.viewers, id, now.unix_seconds())
    }

    /// Whether this was taken back. A token that does not say when it was made counts as an old one.
    #[must_use]
    pub fn includes(&self, grant: &Grant) -> bool {
        let token = grant.token.as_deref().is_some_and(|id| self.tokens.contains_key(id));
        let viewer = grant.viewer.as_deref().and_then(|id| self.viewers.get(id));
        token || viewer.is_some_and(|when| grant.issued.is_none_or(|issued| issued <= *when))
    }
}

/// No more revocations can be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many revocations are remembered as can be")]
pub struct Full;

fn insert(all: &mut HashMap<String, i64>, id: &str, now: i64) -> Result<(), Full> {
    if all.len() >= Revoked::MOST && !all.contains_key(id) {
        let kept = i64::try_from(Revoked::KEPT.as_secs()).unwrap_or(i64::MAX);
        all.retain(|_, when| now - *when < kept);
        if all.len() >= Revoked::MOST {
            return Err(Full);
        }
    }
    all.insert(id.to_owned(), now);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Right, Tier};

    fn grant(token: Option<&str>, viewer: Option<&str>, issued: Option<i64>) -> Grant {
        Grant {
            viewer: viewer.map(Into::into),
            token: token.map(Into::into),
            feed: "*".parse().unwrap(),
            tier: Tier::Free,
            rights: vec![Right::Watch],
            issued,
            expires: i64::MAX,
            viewers: None,
            priority: 0,
            delay: None,
        }
    }

    fn at(seconds: i64) -> ProgramTime {
        ProgramTime::from_unix_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_token_is_revoked_by_its_id_and_a_viewer_until_now() {
        let mut revoked = Revoked::default();
        revoked.token("t1", at(100)).unwrap();
        revoked.viewer("anna", at(100)).unwrap();
        assert!(revoked.includes(&grant(Some("t1"), None, Some(200))));
        assert!(!revoked.includes(&grant(Some("t2"), Some("bea"), Some(50))));
        assert!(revoked.includes(&grant(Some("t2"), Some("anna"), Some(100))));
        assert!(revoked.includes(&grant(None, Some("anna"), None)), "it does not say when it was made");
        assert!(!revoked.includes(&grant(None, Some("anna"), Some(101))), "made afterwards");
        assert!(!revoked.includes(&grant(None, None, None)));
    }

    #[test]
    fn revocations_are_bounded_and_old_ones_make_room() {
        let mut revoked = Revoked::default();
        for n in 0..Revoked::MOST {
            revoked.token(&n.to_string(), at(0)).unwrap();
        }
        assert_eq!(revoked.token("one more", at(1)), Err(Full));
        assert!(revoked.includes(&grant(Some("0"), None, None)), "nothing was forgotten for it");
        assert_eq!(revoked.token("0", at(1)), Ok(()), "known ones need no room");
        let later = i64::try_from(Revoked::KEPT.as_secs()).unwrap();
        assert_eq!(revoked.token("one more", at(later)), Ok(()));
        assert!(revoked.includes(&grant(Some("0"), None, None)), "that one is a second younger");
        assert!(!revoked.includes(&grant(Some("1"), None, None)));
    }
}
