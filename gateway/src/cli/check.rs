//! `bicast check`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Check an origin against the rules of its protocol.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct CheckArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Which rules of LL-HLS an origin keeps, as far as they are seen over the wire
    Hls(Box<bicast_load::CheckArgs>),
}

pub(super) async fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let Command::Hls(args) = args.command;
    Ok(if bicast_load::check(*args).await? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
