//! `bicast bench`.

use clap::{Args, Subcommand};

/// Measure a server.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a WHEP server with many real viewers and measure what they get
    Viewers(Box<bicast_load::Args>),
    /// Follow the live edge of an LL-HLS origin with many players and measure what they get
    Hls(Box<bicast_load::HlsArgs>),
}

/// Without the runtime of the other commands: it brings its own, on the cores that it is told to keep to.
pub(super) fn run(args: BenchArgs) -> anyhow::Result<()> {
    match args.command {
        Command::Viewers(args) => bicast_load::run(*args),
        Command::Hls(args) => bicast_load::bench_hls(*args),
    }
}
