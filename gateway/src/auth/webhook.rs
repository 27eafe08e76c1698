//! Somebody else's word on who may publish and watch: a POST for each decision, after the token was found good. Where no answer comes, nobody
//! is let in.

use std::time::Duration;

use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::whip::Whip;
use bicast_shared::auth::{Act, Grant, Refusal};
use bicast_shared::id::FeedId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::asked::{Answer, Asked};

/// How often it is asked, and the pause before the second time.
const TRIES: u32 = 2;
const PAUSE: Duration = Duration::from_millis(100);

/// Who decides.
pub(super) struct Webhook {
    url: Endpoint,
    client: Whip,
    within: Duration,
    asked: Asked,
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

impl Webhook {
    /// Asks there, and waits so long for each answer.
    ///
    /// # Errors
    /// For https on a machine that has no certificates to check a server with.
    pub(super) fn new(url: Endpoint, within: Duration) -> Result<Self, bicast_publish::Error> {
        let client = Whip::new(url.clone(), None)?;
        Ok(Self { url, client, within, asked: Asked::default() })
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
        let ask = self.ask(grant, act, feed);
        match if keeps { self.asked.once(about, ask).await } else { ask.await } {
            Answer::Yes => Ok(()),
            Answer::No(why) => Err(Refusal::Denied(why)),
            Answer::Undecided => Err(Refusal::Undecided),
        }
    }

    async fn ask(&self, grant: &Grant, act: Act, feed: &FeedId) -> Answer {
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
                Ok(reply) if matches!(reply.status, 200 | 204) => return Answer::Yes,
                Ok(reply) if matches!(reply.status, 401 | 403) => {
                    let reason: Reason = serde_json::from_slice(&reply.body).unwrap_or_default();
                    let why = reason.reason.chars().filter(|c| !c.is_control()).take(200);
                    return Answer::No(why.collect());
                }
                Ok(reply) => failure = format!("status {}", reply.status),
                Err(error) => failure = error.to_string(),
            }
        }
        metrics::counter!("bicast_auth_webhook_failures_total").increment(1);
        tracing::warn!(url = self.url.as_str(), failure, "the webhook does not decide; refused");
        Answer::Undecided
    }
}
