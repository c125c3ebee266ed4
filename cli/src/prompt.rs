//! Questions at the terminal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::error::{CliError, Result};

/// Asks for a line; refuses where nobody can answer.
pub(crate) fn line(question: &str, instead: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::new(format!("there is no terminal to ask for: {question}"), instead));
    }
    eprint!("{question}: ");
    let _ = std::io::stderr().flush();
    read_line()
}

/// Asks for a line without showing it.
pub(crate) fn secret(question: &str, instead: &str) -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(CliError::new(format!("there is no terminal to ask for: {question}"), instead));
    }
    eprint!("{question}: ");
    let _ = std::io::stderr().flush();
    let before = tcgetattr(&stdin).map_err(|error| CliError::io("reading the terminal's mode", error, instead))?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &quiet);
    let answer = read_line();
    let _ = tcsetattr(&stdin, OptionalActions::Flush, &before);
    eprintln!();
    answer
}

fn read_line() -> Result<String> {
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| CliError::io("reading the answer", error, "try again"))?;
    Ok(answer.trim_end_matches(['\n', '\r']).to_owned())
}
