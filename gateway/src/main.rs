//! `bicast`: the command.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match bicast::cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            bicast::cli::report(&error);
            bicast::cli::exit_code(&error)
        }
    }
}
