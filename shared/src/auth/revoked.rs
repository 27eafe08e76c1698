//! Rights that were taken back before they expired.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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

    /// Takes something back.
    ///
    /// # Errors
    /// Where as many as can be remembered are: forgetting one would let it in again.
    pub fn take(&mut self, one: &Revocation) -> Result<(), Full> {
        match &one.what {
            Taken::Token(id) => insert(&mut self.tokens, id, one.at),
            Taken::Viewer(id) => insert(&mut self.viewers, id, one.at),
        }
    }

    /// All that is still to be remembered.
    pub fn all(&self, now: ProgramTime) -> impl Iterator<Item = Revocation> {
        let tokens =
            self.tokens.iter().map(|(id, at)| Revocation { what: Taken::Token(id.clone()), at: *at });
        let viewers =
            self.viewers.iter().map(|(id, at)| Revocation { what: Taken::Viewer(id.clone()), at: *at });
        tokens.chain(viewers).filter(move |one| is_kept(one.at, now.unix_seconds()))
    }

    /// Whether this was taken back. A token that does not say when it was made counts as an old one.
    #[must_use]
    pub fn includes(&self, grant: &Grant) -> bool {
        let token = grant.token.as_deref().is_some_and(|id| self.tokens.contains_key(id));
        let viewer = grant.viewer.as_deref().and_then(|id| self.viewers.get(id));
        token || viewer.is_some_and(|when| grant.issued.is_none_or(|issued| issued <= *when))
    }
}

/// What was taken back, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// What it was.
    #[serde(flatten)]
    pub what: Taken,
    /// Seconds since 1970.
    pub at: i64,
}

/// What can be taken back, by its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Taken {
    /// A token, by its `jti`.
    Token(String),
    /// Everything that a viewer (`sub`) has been given until then.
    Viewer(String),
}

/// No more revocations can be remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many revocations are remembered as can be")]
pub struct Full;

fn insert(all: &mut HashMap<String, i64>, id: &str, now: i64) -> Result<(), Full> {
    if all.len() >= Revoked::MOST && !all.contains_key(id) {
        all.retain(|_, when| is_kept(*when, now));
        if all.len() >= Revoked::MOST {
            return Err(Full);
        }
    }
    all.insert(id.to_owned(), now);
    Ok(())
}

fn is_kept(at: i64, now: i64) -> bool {
    now - at < i64::try_from(Revoked::KEPT.as_secs()).unwrap_or(i64::MAX)
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

    fn token(id: &str, at: i64) -> Revocation {
        Revocation { what: Taken::Token(id.to_owned()), at }
    }

    #[test]
    fn a_token_is_revoked_by_its_id_and_a_viewer_until_now() {
        let mut revoked = Revoked::default();
        revoked.take(&token("t1", 100)).unwrap();
        let anna = Revocation { what: Taken::Viewer("anna".to_owned()), at: 100 };
        revoked.take(&anna).unwrap();
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
            revoked.take(&token(&n.to_string(), 0)).unwrap();
        }
        assert_eq!(revoked.take(&token("one more", 1)), Err(Full));
        assert!(revoked.includes(&grant(Some("0"), None, None)), "nothing was forgotten for it");
        assert_eq!(revoked.take(&token("0", 1)), Ok(()), "known ones need no room");
        let later = i64::try_from(Revoked::KEPT.as_secs()).unwrap();
        assert_eq!(revoked.take(&token("one more", later)), Ok(()));
        assert!(revoked.includes(&grant(Some("0"), None, None)), "that one is a second younger");
        assert!(!revoked.includes(&grant(Some("1"), None, None)));
    }

    #[test]
    fn what_is_written_down_is_taken_back_again_while_it_is_to_be_remembered() {
        let mut revoked = Revoked::default();
        let anna = Revocation { what: Taken::Viewer("anna".to_owned()), at: 100 };
        revoked.take(&anna).unwrap();
        revoked.take(&token("t1", 200)).unwrap();
        let now = |seconds: i64| ProgramTime::from_unix_nanos(seconds * 1_000_000_000);
        let kept = i64::try_from(Revoked::KEPT.as_secs()).unwrap();
        let mut written: Vec<String> =
            revoked.all(now(300)).map(|one| serde_json::to_string(&one).unwrap()).collect();
        written.sort();
        assert_eq!(written, [r#"{"token":"t1","at":200}"#, r#"{"viewer":"anna","at":100}"#]);
        assert_eq!(serde_json::from_str::<Revocation>(&written[1]).unwrap(), anna);
        assert_eq!(revoked.all(now(150 + kept)).collect::<Vec<_>>(), [token("t1", 200)]);
    }
}
