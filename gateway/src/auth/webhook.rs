//! Somebody else's word on who may publish and watch: a POST for each decision, after the token was found good. Where no answer comes, nobody
//! is let in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::whip::Whip;
use bicast_shared::auth::{Act, Grant, Refusal};
use bicast_shared::clock;
use bicast_shared::id::FeedId;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How long an answer about HLS holds: players ask ten times a second. One about WebRTC holds for a session.
const YES_HOLDS: Duration = Duration::from_secs(30);
const NO_HOLDS: Duration = Duration::from_secs(5);
/// The most answers that are kept.
const MOST: usize = 100_000;
/// How often it is asked, and the pause before the second time.
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_millis(100);

/// Who decides.
pub(super) struct Webhook {
    url: Endpoint,
    client: Whip,
    within: Duration,
    answers: Mutex<Answers>,
}

/// What is asked.
#[derive(Serialize)]
struct Question<'a> {
    act: &'static str,
    feed: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    viewer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    tier: &'static str,
    expires: i64,
}

/// What a refusal may say.
#[derive(Default, Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

/// What a decision is about.
type About = (Option<String>, Option<String>, Act, FeedId, i64);

/// Answers that still hold.
#[derive(Default)]
struct Answers(HashMap<About, (Instant, Option<String>)>);

impl Answers {
    /// The answer that is known: why not, or none where it may.
    fn get(&self, now: Instant, about: &About) -> Option<Option<String>> {
        let (until, why_not) = self.0.get(about)?;
        (now < *until).then(|| why_not.clone())
    }

    fn put(&mut self, now: Instant, about: About, why_not: Option<String>) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (until, _)| now < *until);
        }
        if self.0.len() < MOST {
            let holds = if why_not.is_none() { YES_HOLDS } else { NO_HOLDS };
            self.0.insert(about, (now + holds, why_not));
        }
    }
}

impl Webhook {
    /// Asks there, and waits so long for each answer.
    ///
    /// # Errors
    /// For https on a machine that has no certificates to check a server with.
    pub(super) fn new(url: Endpoint, within: Duration) -> Result<Self, bicast_publish::Error> {
        let client = Whip::new(url.clone(), None)?;
        Ok(Self { url, client, within, answers: Mutex::default() })
    }

    /// Whether this may be.
    ///
    /// # Errors
    /// Its refusal, and that there is no answer.
    pub(super) async fn decide(&self, grant: &Grant, act: Act, feed: &FeedId) -> Result<(), Refusal> {
        let named = |name: &Option<std::sync::Arc<str>>| name.as_deref().map(str::to_owned);
        let about = (named(&grant.viewer), named(&grant.token), act, feed.clone(), grant.expires);
        // A session is asked for each time.
        let keeps = act == Act::WatchHls && (grant.viewer.is_some() || grant.token.is_some());
        let known = if keeps { self.answers.lock().get(clock::now(), &about) } else { None };
        let why_not = match known {
            Some(known) => known,
            None => {
                let answer = self.ask(grant, act, feed).await?;
                if keeps {
                    self.answers.lock().put(clock::now(), about, answer.clone());
                }
                answer
            }
        };
        why_not.map_or(Ok(()), |why| Err(Refusal::Denied(why)))
    }

    async fn ask(&self, grant: &Grant, act: Act, feed: &FeedId) -> Result<Option<String>, Refusal> {
        let question = Question {
            act: act.name(),
            feed: feed.as_str(),
            viewer: grant.viewer.as_deref(),
            token: grant.token.as_deref(),
            tier: grant.tier.name(),
            expires: grant.expires,
        };
        let body = Bytes::from(serde_json::to_vec(&question).unwrap_or_default());
        let mut failure = String::new();
        for n in 0..TRIES {
            if n > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            match self.client.post_json(&self.url, body.clone(), self.within).await {
                Ok(reply) if matches!(reply.status, 200 | 204) => return Ok(None),
                Ok(reply) if matches!(reply.status, 401 | 403) => {
                    let reason: Reason = serde_json::from_slice(&reply.body).unwrap_or_default();
                    return Ok(Some(reason.reason.chars().filter(|c| !c.is_control()).take(200).collect()));
                }
                Ok(reply) => failure = format!("status {}", reply.status),
                Err(error) => failure = error.to_string(),
            }
        }
        metrics::counter!("bicast_auth_webhook_failures_total").increment(1);
        tracing::warn!(url = self.url.as_str(), failure, "the webhook does not decide; refused");
        Err(Refusal::Undecided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_hold_for_a_while_and_are_bounded() {
        let mut answers = Answers::default();
        let start = clock::now();
        let about = |viewer: usize| {
            (Some(viewer.to_string()), None, Act::WatchHls, "demo".parse::<FeedId>().unwrap(), 5)
        };
        answers.put(start, about(1), None);
        answers.put(start, about(2), Some("not paid".into()));
        assert_eq!(answers.get(start + NO_HOLDS / 2, &about(2)), Some(Some("not paid".into())));
        assert_eq!(answers.get(start + NO_HOLDS, &about(2)), None);
        assert_eq!(answers.get(start + NO_HOLDS, &about(1)), Some(None));
        assert_eq!(answers.get(start + YES_HOLDS, &about(1)), None);
        (0..MOST + 5).for_each(|n| answers.put(start, about(n), None));
        assert_eq!(answers.0.len(), MOST);
        answers.put(start + YES_HOLDS, about(MOST + 9), None);
        assert_eq!(answers.0.len(), 1, "what holds no more makes room");
    }
}
