//! `bicast config`.

use clap::Args;

use super::serve::SettingArgs;
use crate::config::{Config, EXAMPLE, Secret};

/// Print the configuration that `serve` would run with, or one to begin with.
///
/// Reads the same file, environment and flags as `serve`, checks them, and opens nothing.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ConfigArgs {
    /// Print every setting at its default, with what it means
    #[arg(long)]
    default: bool,

    #[command(flatten)]
    settings: SettingArgs,
}

const AFTER_HELP: &str = "\
Examples:
  bicast config --default > bicast.toml   a file to begin with
  bicast config --config bicast.toml      check a file, and see what the environment makes of it";

#[expect(clippy::print_stdout, reason = "the configuration is this command's product")]
pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    if args.default {
        print!("{EXAMPLE}");
        return Ok(());
    }
    let mut config = Config::load(&args.settings.sources()?)?;
    if !config.auth.secret.reveal().is_empty() {
        // What is printed is pasted into questions. As a file of settings it would be refused: the secret is too short.
        config.auth.secret = Secret::from("(hidden)".to_owned());
    }
    print!("{}", config.to_toml());
    Ok(())
}
