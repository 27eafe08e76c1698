//! Sets up the logs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{LogConfig, LogFormat};

/// Begins to log to stderr: stdout belongs to what a command prints as its product. Does nothing where something
/// already logs (tests).
pub(crate) fn start(config: &LogConfig) {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(&config.level)).with_writer(std::io::stderr);
    // https://no-color.org
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let started = match config.format {
        LogFormat::Text => lines.with_ansi(colours).with_target(false).finish().try_set(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).finish().try_set(),
    };
    if !started {
        tracing::debug!("logs were already set up");
    }
}

/// A bare level speaks of bicast; the libraries then say warnings only.
fn filter(level: &str) -> EnvFilter {
    let directives = match level.trim().parse::<LevelFilter>() {
        Ok(LevelFilter::OFF) => "off".to_owned(),
        Ok(level @ LevelFilter::ERROR) => level.to_string(),
        Ok(level) => format!("warn,bicast={level}"),
        Err(_) => level.to_owned(),
    };
    EnvFilter::builder().parse_lossy(directives)
}

/// Takes a subscriber as the process's, and tells whether it was the first.
trait TrySet {
    fn try_set(self) -> bool;
}

impl<S: tracing::Subscriber + Send + Sync + 'static> TrySet for S {
    fn try_set(self) -> bool {
        tracing::subscriber::set_global_default(self).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_level_is_bicasts_own() {
        assert_eq!(filter("debug").to_string(), "bicast=debug,warn");
        assert_eq!(filter("off").to_string(), "off");
        assert_eq!(filter("error").to_string(), "error");
        assert_eq!(filter("info,bicast_sfu=trace").to_string(), "bicast_sfu=trace,info");
    }
}
