//! What a publisher says it left out because the machine was too slow.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::{Mutex, MutexGuard};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Metadata, Subscriber};

static VIDEO: AtomicU64 = AtomicU64::new(0);
static AUDIO: AtomicU64 = AtomicU64::new(0);
/// One publisher at a time, so that what is counted is its own, and so that no two encoders make each other late.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The count from its making on. While it is there no other test publishes.
pub(crate) struct Skipped(
    #[expect(dead_code, reason = "held until the test is over")] MutexGuard<'static, ()>,
);

impl Skipped {
    pub(crate) async fn count() -> Self {
        static LISTENING: Once = Once::new();
        let alone = ALONE.lock().await;
        LISTENING.call_once(|| tracing::subscriber::set_global_default(Listener).unwrap());
        VIDEO.store(0, Relaxed);
        AUDIO.store(0, Relaxed);
        Self(alone)
    }

    /// Frames.
    pub(crate) fn video(&self) -> u64 {
        VIDEO.load(Relaxed)
    }

    /// Packets of sound.
    pub(crate) fn audio(&self) -> u64 {
        AUDIO.load(Relaxed)
    }
}

/// Hears what the lanes' threads log when they leave something out. Their `skipped` is what `--json` counts.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "bicast_publish::lane"
    }

    fn event(&self, event: &Event<'_>) {
        let thread = std::thread::current();
        let count = if thread.name() == Some("publish-video") { &VIDEO } else { &AUDIO };
        event.record(&mut Add(count));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Add(&'static AtomicU64);

impl Visit for Add {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "skipped" {
            self.0.fetch_add(value, Relaxed);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
