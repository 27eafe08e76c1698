//! The `[log]` section.

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Settings of the logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace` or `off` for bicast, whose libraries then say warnings only; or
    /// directives by module as `tracing` writes them: `warn,bicast_sfu=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

impl LogConfig {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let (key, wrong) = ("log.level", |why: String| format!("{:?} is not a level: {why}", self.level));
        let directives = self.level.split(',').map(str::trim);
        for bare in directives.filter(|directive| !directive.contains(['=', '['])) {
            // EnvFilter would take any word as the name of a module and then say nothing.
            if bare.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
                let why =
                    "use error, warn, info, debug, trace, off, or directives like warn,bicast_sfu=debug";
                return Err(Invalid { key: key.into(), message: wrong(why.into()) });
            }
        }
        match tracing_subscriber::EnvFilter::builder().parse(&self.level) {
            Ok(_) => Ok(()),
            Err(error) => Err(Invalid { key: key.into(), message: wrong(error.to_string()) }),
        }
    }
}
