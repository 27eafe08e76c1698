//! The commands.

mod bench;
mod check;
mod config;
mod doctor;
mod health;
mod serve;
mod token;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "bicast",
    version,
    about = "One live feed, two paths, one timeline: WebRTC and Low-Latency HLS from one WHIP publisher",
    after_help = AFTER_HELP,
    styles = STYLES,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Try it:
  bicast serve
  bicast publish --test-pattern --whip http://localhost:8080/whip/demo
and open http://localhost:8080/ in a browser.

`bicast COMMAND --help` tells all about a command.";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway: take feeds by WHIP, serve them by WHEP and LL-HLS
    Serve(Box<serve::ServeArgs>),
    /// Publish a file or a test pattern to a gateway by WHIP
    Publish(Box<bicast_publish::Args>),
    /// Print the configuration that `serve` would run with, or one to begin with
    Config(config::ConfigArgs),
    /// Look for what keeps viewers away: addresses, ports, NAT, kernel settings
    Doctor(Box<doctor::DoctorArgs>),
    /// Ask whether a server is ready: exit code 0 or 1
    Health(Box<health::HealthArgs>),
    /// Make tokens, and look into them
    Token(token::TokenArgs),
    /// Measure a server
    Bench(bench::BenchArgs),
    /// Check an origin against the rules of its protocol
    Check(check::CheckArgs),
}

impl Cli {
    /// Runs the command to its end. The exit code is the command's own word on what it found, not on whether it ran.
    ///
    /// # Errors
    /// What the command could not do, in words for the person who called it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Serve(args) => block_on(serve::run(*args))?,
            Command::Publish(args) => block_on(bicast_publish::run(*args))?,
            Command::Config(args) => config::run(&args)?,
            Command::Doctor(args) => return block_on(doctor::run(*args)),
            Command::Health(args) => return block_on(health::run(*args)),
            Command::Token(args) => return block_on(token::run(args)),
            Command::Bench(args) => bench::run(args)?,
            Command::Check(args) => return block_on(check::run(args)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the async runtime")?;
    let outcome = runtime.block_on(command);
    // What has not ended by now was given its time; nothing may keep the process from ending.
    runtime.shutdown_background();
    outcome
}

/// Prints why a command failed: the error, and what caused it where the error does not say so itself.
#[expect(clippy::print_stderr, reason = "the command's last word; logs may be off or JSON")]
pub fn report(error: &anyhow::Error) {
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let label = if coloured { "\u{1b}[1;31merror\u{1b}[0m" } else { "error" };
    eprintln!("{label}: {}", words(error));
}

/// What a failed command ends with: 3 for a measurement that does not count, so that scripts tell it from one that could
/// not be made.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<bicast_load::Void>() { ExitCode::from(3) } else { ExitCode::FAILURE }
}

fn words(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests;
