//! The `landfall` command: what a person types, and the entry points of every process.
//!
//! It talks to the server over the Platform API only; `up`, `down`, `doctor` and `stacks` also act on this machine.

mod args;
mod attach;
mod client;
mod commands;
mod completions;
mod config;
mod context;
mod credentials;
mod error;
mod output;
mod processes;
mod prompt;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

fn main() -> ExitCode {
    if let Some(code) = processes::git_hook() {
        return code;
    }
    let matches = args::Cli::command().get_matches();
    let typed = matches.subcommand_name().unwrap_or_default().to_owned();
    let cli = args::Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match commands::run(cli, &typed) {
        Ok(code) => code,
        Err(error) => {
            eprint!("{error}");
            ExitCode::from(error.code)
        }
    }
}
