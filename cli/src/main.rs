//! The `landfall` command: what a person types, and the entry points of every process.
//!
//! It talks to the server over the Platform API only; `up`, `down`, `doctor` and `stacks` also act on this machine.

mod args;
mod attach;
mod client;
mod commands;
mod config;
mod context;
mod credentials;
mod error;
mod output;
mod processes;
mod prompt;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    if processes::started_as_git_hook() {
        return processes::git_hook();
    }
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{error}");
            ExitCode::from(error.code)
        }
    }
}
