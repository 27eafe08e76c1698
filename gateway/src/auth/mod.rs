//! Who is let in: the keys in force, kept fresh, and the one check that all doors share. What a token means is decided in
//! `bicast_shared::auth`.
//!
//! | module | holds |
//! |---|---|
//! | `keys` | where keys come from, and how they are exchanged while the server runs |
//! | `door` | which right each route wants, and the layer that asks for it |
//! | `prefix` | tokens in paths, for players that cannot set headers |
//! | `ledger` | what was taken back, also over a restart |
//! | `webhook` | somebody else's word, where one is asked |
//! | `routes` | the routes that take tokens back, and the one that an edge asks |

mod asked;
mod door;
mod keys;
mod ledger;
mod lines;
pub(crate) mod prefix;
mod routes;
mod webhook;

pub(crate) use self::door::is_guarded;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use bicast_publish::core::endpoint::Endpoint;
use bicast_shared::auth::{Act, DelayClasses, Grant, Policy, Presence, Refusal};
use bicast_shared::clock;
use bicast_shared::id::FeedId;
use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub(crate) use self::keys::{Keys, KeysError, secret_in};
use self::ledger::Ledger;
use self::webhook::Webhook;
use crate::config::AuthConfig;

/// How often it is looked for sessions whose right has ended.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The check at the doors. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Auth(Arc<Inner>);

struct Inner {
    /// None: everybody may do everything.
    keys: Option<Keys>,
    policy: Policy,
    webhook: Option<Webhook>,
    revoked: Ledger,
    /// Of viewers whose tokens limit how many they are.
    presence: Mutex<Presence>,
    /// Viewers who must stay behind.
    classes: DelayClasses,
}

impl Auth {
    /// Loads the keys and keeps them fresh until `finish`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A file without usable keys.
    pub(crate) fn start(config: &AuthConfig, finish: &CancellationToken) -> Result<Self, KeysError> {
        let keys = config.has_keys().then(|| Keys::start(config, finish)).transpose()?;
        let policy = Policy { audience: config.audience.clone(), issuer: config.issuer.clone() };
        let failed = |why: String| KeysError::Webhook { url: config.webhook_url.clone(), why };
        let webhook = match config.webhook_url.as_str() {
            "" => None,
            url => {
                let url = url.parse::<Endpoint>().map_err(|error| failed(error.to_string()))?;
                let within = Duration::from_secs_f64(config.webhook_timeout);
                Some(Webhook::new(url, within).map_err(|error| failed(error.to_string()))?)
            }
        };
        let unusable = |error| KeysError::File {
            setting: "auth.revocations_file",
            file: config.revocations_file.clone(),
            error,
        };
        let revoked = Ledger::open(&config.revocations_file).map_err(unusable)?;
        let (presence, classes) = (Mutex::default(), classes(config)?);
        Ok(Self(Arc::new(Inner { keys, policy, webhook, revoked, presence, classes })))
    }

    /// Viewers who must stay behind, and where they find what is due.
    pub(crate) fn classes(&self) -> &DelayClasses {
        &self.0.classes
    }

    /// Whether tokens are wanted.
    pub(crate) fn is_on(&self) -> bool {
        self.0.keys.is_some()
    }

    /// Puts the check before all of these routes, where tokens are wanted, and adds those that take tokens back.
    pub(crate) fn guard(&self, routes: Router) -> Router {
        let routes = routes.merge(routes::router(self.clone()));
        if self.is_on() { routes.layer(from_fn_with_state(self.clone(), door::guard)) } else { routes }
    }

    /// Whether somebody may do this. None where everybody may.
    async fn admit(
        &self,
        token: Option<&[u8]>,
        act: Act,
        feed: Option<&FeedId>,
    ) -> Result<Option<Grant>, Refusal> {
        let inner = &self.0;
        let Some(keys) = &inner.keys else { return Ok(None) };
        let ask = || inner.policy.admit(&keys.current(), token, clock::utc(), act, feed);
        let mut answer = ask();
        if matches!(answer, Err(Refusal::UnknownKey(_))) && keys.refresh().await {
            answer = ask();
        }
        let grant = answer?;
        if inner.revoked.includes(&grant) {
            return Err(Refusal::Revoked);
        }
        Ok(Some(grant))
    }

    /// Asks whoever decides beside the tokens, where there is one and it is about publishing or watching.
    async fn decide(&self, grant: &Grant, act: Act, feed: Option<&FeedId>) -> Result<(), Refusal> {
        match (&self.0.webhook, feed, act) {
            (Some(webhook), Some(feed), Act::Publish | Act::Join | Act::WatchRealtime | Act::WatchHls) => {
                webhook.decide(grant, act, feed).await
            }
            _ => Ok(()),
        }
    }

    /// Whether a viewer over HLS may be here once more.
    fn may_stay(&self, grant: &Grant, player: u64) -> Result<(), Refusal> {
        let (Some(most), Some(viewer)) = (grant.viewers, &grant.viewer) else { return Ok(()) };
        let may = self.0.presence.lock().saw(clock::now(), viewer, player, most);
        if may { Ok(()) } else { Err(Refusal::Viewers(most)) }
    }

    /// Whether what was granted has ended: it has expired, or was taken back.
    fn has_ended(&self, grant: &Grant) -> bool {
        grant.has_expired(clock::utc()) || self.0.revoked.includes(grant)
    }

    /// Ends WebRTC sessions whose right has ended, until `finish`: their media comes without another request that could be refused.
    pub(crate) async fn sweep(
        self,
        sfu: Arc<bicast_sfu::Sfu>,
        viewers: bicast_signaling::Viewers,
        finish: CancellationToken,
    ) {
        if !self.is_on() {
            return;
        }
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = finish.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let ended = sfu.end_sessions(|grant| self.has_ended(grant)).await;
            let told = viewers.end_those(|grant| self.has_ended(grant)).await;
            if told > 0 {
                tracing::info!(viewers = told, "ended: their tokens have expired or were taken back");
            }
            if ended > 0 {
                metrics::counter!("bicast_auth_sessions_ended_total").increment(ended);
                tracing::info!(sessions = ended, "ended: their tokens have expired or were taken back");
            }
        }
    }
}

/// The delay classes. Their addresses are made from the secret, where there is one, so that players and caches find them again after a restart;
/// with keys of others' they are new with each start.
fn classes(config: &AuthConfig) -> Result<DelayClasses, KeysError> {
    let mut secret = config.secret.reveal().as_bytes().to_vec();
    if !config.secret_file.as_os_str().is_empty() {
        let file = config.secret_file.clone();
        secret =
            secret_in(&file).map_err(|error| KeysError::File { setting: "auth.secret_file", file, error })?;
    }
    if secret.is_empty() {
        secret = rand::random::<[u8; 32]>().to_vec();
    }
    // The settings were checked; an error here is none that anybody can meet.
    DelayClasses::new(&config.delay_classes, &secret).map_err(|error| KeysError::Classes(error.to_string()))
}

/// The first address that others than this machine can reach.
pub(crate) fn first_public<'a>(addresses: impl IntoIterator<Item = &'a SocketAddr>) -> Option<SocketAddr> {
    addresses.into_iter().find(|address| !address.ip().to_canonical().is_loopback()).copied()
}
