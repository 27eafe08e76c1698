//! The keys in force: a secret, a JWK set in a file, one at an address. Files are read again when they change, the address is asked again
//! now and then, and when a token names a key that is not known. Where that fails, what was there stays in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bicast_publish::core::endpoint::Endpoint;
use bicast_publish::whip::Whip;
use bicast_shared::auth::{BadKeys, Key, KeySet, Secrets};
use bicast_shared::clock;
use hyper::Method;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::config::AuthConfig;
use crate::files::{self, Version};

/// The largest file of keys that is read.
const LARGEST_FILE: usize = 256 * 1024;
/// How long an answer with keys may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The least time between two requests for keys, whoever wants them: a stranger can name unknown keys as often as it likes.
const LEAST_BETWEEN: Duration = Duration::from_secs(10);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// A file could not be read.
    #[error("cannot read {} (setting {setting}): {error}", .file.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It holds something else.
    #[error("cannot use {} (setting {setting}): {why}", .file.display())]
    Content {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: BadKeys,
    },
    /// The delay classes in the settings.
    #[error("setting auth.delay_classes: {0}")]
    Classes(String),
    /// The secret in the settings.
    #[error("setting auth.secret: {0}")]
    Secret(BadKeys),
    /// Nobody can be asked.
    #[error("cannot ask {url} (setting auth.webhook_url): {why}")]
    Webhook {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// Keys could not be fetched.
    #[error("cannot fetch keys from {url} (setting auth.jwks_url): {why}")]
    Fetch {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
}

/// The keys in force. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Inner>);

struct Inner {
    /// By where they come from, in the order of the settings.
    parts: Mutex<[KeySet; 3]>,
    /// All of them together. Sent after each fetch, whether it brought something or not.
    current: watch::Sender<Arc<KeySet>>,
    fetcher: Option<Fetcher>,
}

/// Which part a source fills.
#[derive(Clone, Copy)]
enum Part {
    Secret,
    File,
    Url,
}

struct Fetcher {
    asked: Notify,
    /// When the last fetch was over.
    done: Mutex<Option<Instant>>,
}

/// A file of keys.
struct Source {
    setting: &'static str,
    file: PathBuf,
    part: Part,
}

impl Keys {
    /// Loads what lies here, and begins to fetch what does not.
    pub(crate) fn start(config: &AuthConfig, finish: &CancellationToken) -> Result<Self, KeysError> {
        let fetched = !config.jwks_url.is_empty();
        let fetcher = fetched.then(|| Fetcher { asked: Notify::new(), done: Mutex::default() });
        let keys =
            Self(Arc::new(Inner { parts: Mutex::default(), current: watch::Sender::default(), fetcher }));
        if !config.secret.reveal().is_empty() {
            let key = Key::secret(config.secret.reveal().as_bytes()).map_err(KeysError::Secret)?;
            keys.put(Part::Secret, KeySet::default().with(key));
        }
        for source in sources(config) {
            let seen = files::version(&source.file);
            keys.put(source.part, source.load()?);
            tokio::spawn(keys.clone().watch(source, seen, finish.clone()));
        }
        if fetched {
            let url = config
                .jwks_url
                .parse::<Endpoint>()
                .map_err(|error| KeysError::Fetch { url: config.jwks_url.clone(), why: error.to_string() })?;
            let every = Duration::from_secs_f64(config.jwks_refresh);
            tokio::spawn(keys.clone().follow(url, every, finish.clone()));
        }
        Ok(keys)
    }

    /// Everything that the settings name, loaded once: for a command that looks at a token.
    pub(crate) async fn once(config: &AuthConfig) -> Result<KeySet, KeysError> {
        let local = AuthConfig { jwks_url: String::new(), ..config.clone() };
        let keys = Self::start(&local, &CancellationToken::new())?.current();
        match config.jwks_url.parse() {
            Ok(url) => Ok(keys.as_ref().clone().and(&fetch(&url).await?)),
            Err(_) => Ok(keys.as_ref().clone()),
        }
    }

    /// The keys that are in force now.
    pub(crate) fn current(&self) -> Arc<KeySet> {
        self.0.current.borrow().clone()
    }

    /// Has the keys fetched, because one is wanted that is not known. False where nothing new can have come.
    pub(crate) async fn refresh(&self) -> bool {
        let Some(fetcher) = &self.0.fetcher else { return false };
        let mut current = self.0.current.subscribe();
        current.mark_unchanged();
        if !fetcher.is_due() {
            return false;
        }
        fetcher.asked.notify_one();
        tokio::time::timeout(ANSWER_WITHIN * 2, current.changed()).await.is_ok_and(|sent| sent.is_ok())
    }

    fn put(&self, part: Part, keys: KeySet) {
        let mut parts = self.0.parts.lock();
        parts[part as usize] = keys;
        let all = parts.iter().fold(KeySet::default(), |all, part| all.and(part));
        metrics::gauge!("bicast_auth_keys").set(f64::from(u32::try_from(all.len()).unwrap_or(u32::MAX)));
        self.0.current.send_replace(Arc::new(all));
    }

    /// Takes a file that has changed. One that cannot be used is not taken.
    async fn watch(self, source: Source, seen: Version, finish: CancellationToken) {
        let changed = || match source.load() {
            Ok(keys) => {
                tracing::info!(file = %source.file.display(), keys = keys.len(), "changed keys are in force");
                self.put(source.part, keys);
                reloaded("taken");
            }
            Err(error) => {
                tracing::warn!(%error, "the changed keys are not taken; the old ones stay in force");
                reloaded("failed");
            }
        };
        files::watch(seen, || files::version(&source.file), finish, changed).await;
    }

    /// Fetches keys, now, each time that `every` has passed, and when somebody asks.
    async fn follow(self, url: Endpoint, every: Duration, finish: CancellationToken) {
        let Some(fetcher) = &self.0.fetcher else { return };
        let mut failing = false;
        loop {
            let fetched = tokio::select! {
                () = finish.cancelled() => return,
                fetched = fetch(&url) => fetched,
            };
            let before = fetcher.done.lock().replace(clock::now());
            let failed = fetched.is_err();
            match fetched {
                Ok(keys) => {
                    if failing || before.is_none() {
                        tracing::info!(url = url.as_str(), keys = keys.len(), "keys are fetched");
                    }
                    self.put(Part::Url, keys);
                    reloaded("taken");
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "no new keys; those that are there stay in force");
                    }
                    reloaded("failed");
                    // Whoever waits for them is told at once.
                    self.0.current.send_modify(|_| {});
                }
            }
            failing = failed;
            let next = if failing { every.min(LEAST_BETWEEN) } else { every };
            let deadline = tokio::time::Instant::now() + next;
            loop {
                tokio::select! {
                    () = finish.cancelled() => return,
                    () = tokio::time::sleep_until(deadline) => break,
                    () = fetcher.asked.notified() => if fetcher.is_due() { break },
                }
            }
        }
    }
}

fn reloaded(result: &'static str) {
    metrics::counter!("bicast_auth_key_reloads_total", "result" => result).increment(1);
}

impl Fetcher {
    /// Whether the last fetch is long enough ago, or the first one still under way.
    fn is_due(&self) -> bool {
        self.done.lock().is_none_or(|done| clock::now().saturating_duration_since(done) >= LEAST_BETWEEN)
    }
}

fn sources(config: &AuthConfig) -> Vec<Source> {
    [
        Source { setting: "auth.secret_file", file: config.secret_file.clone(), part: Part::Secret },
        Source { setting: "auth.jwks_file", file: config.jwks_file.clone(), part: Part::File },
    ]
    .into_iter()
    .filter(|source| !source.file.as_os_str().is_empty())
    .collect()
}

/// The secret that a file holds: its text without the line's end.
pub(crate) fn secret_in(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = files::read(file, LARGEST_FILE)?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(bytes)
}

impl Source {
    fn load(&self) -> Result<KeySet, KeysError> {
        let unreadable = |error| KeysError::File { setting: self.setting, file: self.file.clone(), error };
        let unusable = |why| KeysError::Content { setting: self.setting, file: self.file.clone(), why };
        if matches!(self.part, Part::Secret) {
            let secret = secret_in(&self.file).map_err(unreadable)?;
            return Ok(KeySet::default().with(Key::secret(&secret).map_err(unusable)?));
        }
        let text = files::read(&self.file, LARGEST_FILE).map_err(unreadable)?;
        let (keys, passed) = KeySet::from_jwks(&text, Secrets::Allowed).map_err(unusable)?;
        for why in passed {
            tracing::warn!(file = %self.file.display(), why, "a key is passed over");
        }
        Ok(keys)
    }
}

/// Fetches a JWK set. The client's answers are bounded.
async fn fetch(url: &Endpoint) -> Result<KeySet, KeysError> {
    let failed = |why: String| KeysError::Fetch { url: url.as_str().to_owned(), why };
    let client = Whip::new(url.clone(), None).map_err(|error| failed(error.to_string()))?;
    let reply = client.ask(Method::GET, url, ANSWER_WITHIN).await.map_err(|error| {
        failed(match error {
            bicast_publish::Error::Unreachable { reason, .. } => reason,
            bicast_publish::Error::NoAnswer { after, .. } => {
                format!("no answer within {} s", after.as_secs())
            }
            other => other.to_string(),
        })
    })?;
    if reply.status != 200 {
        return Err(failed(format!("the answer's status is {}", reply.status)));
    }
    let (keys, passed) =
        KeySet::from_jwks(&reply.body, Secrets::Passed).map_err(|why| failed(why.to_string()))?;
    for why in passed {
        tracing::debug!(url = url.as_str(), why, "a key is passed over");
    }
    Ok(keys)
}
