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

use crate::error::CliError;

/// What was typed is no command line of ours; or it asked for help, which is no mistake.
fn misread(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let typed: Vec<String> = std::env::args().skip(1).collect();
    let known = args::Cli::command();
    let command =
        typed.iter().find_map(|word| known.find_subcommand(word)).map(|found| format!("{} ", found.get_name())).unwrap_or_default();
    let said = error.render().to_string().replace("\nFor more information, try '--help'.\n", "");
    let said = said.trim_start_matches("error: ").trim_end();
    let error = CliError { code: 2, ..CliError::new(said, format!("landfall {command}--help")) };
    eprint!("{error}");
    ExitCode::from(error.code)
}

fn main() -> ExitCode {
    if let Some(code) = processes::git_hook() {
        return code;
    }
    let matches = match args::Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return misread(&error),
    };
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
