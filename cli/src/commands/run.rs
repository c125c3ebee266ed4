//! run, run:detached, ps:exec.

use std::process::ExitCode;

use landfall_model::DynoName;
use serde_json::{Map, Value, json};

use crate::args::AppArg;
use crate::attach;
use crate::client::Client;
use crate::context::app_name;
use crate::error::{CliError, Result};
use crate::output::text;

/// One word is a command line already; several are joined as the Heroku CLI does, so that the dyno's shell reads them back.
fn command_line(words: &[String]) -> String {
    if let [line] = words {
        return line.clone();
    }
    let quote = |word: &String| {
        let bare = !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '"');
        if bare { word.clone() } else { format!("\"{}\"", word.replace('\\', r"\\").replace('"', "\\\"")) }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn environment(pairs: &[String]) -> Result<Map<String, Value>> {
    let mut env = Map::new();
    for pair in pairs {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| CliError::new(format!("\"{pair}\" is not KEY=VALUE"), "landfall run -e KEY=VALUE COMMAND"))?;
        env.insert(key.to_owned(), json!(value));
    }
    Ok(env)
}

/// Tells the dyno what terminal it talks to.
fn add_terminal(env: &mut Map<String, Value>) {
    env.entry("TERM").or_insert_with(|| json!(std::env::var("TERM").unwrap_or_else(|_| "xterm".into())));
    if let Some((cols, rows)) = attach::window() {
        env.insert("COLUMNS".into(), json!(cols));
        env.insert("LINES".into(), json!(rows));
    }
}

pub(crate) fn attached(
    client: &Client,
    app: &AppArg,
    size: Option<String>,
    env: &[String],
    no_tty: bool,
    command: &[String],
) -> Result<ExitCode> {
    let name = app_name(app)?;
    let tty = !no_tty && attach::on_terminal();
    let mut env = environment(env)?;
    if tty {
        add_terminal(&mut env);
    }
    let mut body = json!({ "attach": true, "command": command_line(command), "env": env });
    if !tty {
        body["force_no_tty"] = json!(true);
    }
    if let Some(size) = size {
        body["size"] = json!(size);
    }
    let dyno = client.post(&format!("/apps/{name}/dynos"), &body)?;
    if tty {
        eprintln!("Running {} on {name}... up, {}", command_line(command), text(&dyno, "/name"));
    }
    attach::run(&client.api, text(&dyno, "/attach_url"), tty).map(ExitCode::from)
}

pub(crate) fn detached(client: &Client, app: &AppArg, size: Option<String>, env: &[String], command: &[String]) -> Result<()> {
    let name = app_name(app)?;
    let mut body = json!({ "attach": false, "command": command_line(command), "env": environment(env)? });
    if let Some(size) = size {
        body["size"] = json!(size);
    }
    let dyno = client.post(&format!("/apps/{name}/dynos"), &body)?;
    let dyno = text(&dyno, "/name");
    println!("Running {} on {name}... done, {dyno}", command_line(command));
    println!("Next: landfall logs --tail --dyno {dyno} -a {name}");
    Ok(())
}

/// `ps:exec web.1 env`, `ps:exec web.1 -- env` and `ps:exec --dyno web.1 env` mean the same.
fn split_dyno<'a>(dyno: &'a str, command: &'a [String]) -> (&'a str, &'a [String]) {
    match command {
        [first, dashes, rest @ ..] if first.parse::<DynoName>().is_ok() && dashes == "--" => (first, rest),
        [first, rest @ ..] if first.parse::<DynoName>().is_ok() => (first, rest),
        _ => (dyno, command),
    }
}

pub(crate) fn exec(client: &Client, app: &AppArg, dyno: &str, command: &[String]) -> Result<ExitCode> {
    let (dyno, command) = split_dyno(dyno, command);
    let name = app_name(app)?;
    let tty = attach::on_terminal();
    let mut env = Map::new();
    if tty {
        add_terminal(&mut env);
    }
    let answer = client.post(&format!("/apps/{name}/dynos/{dyno}/actions/exec"), &json!({ "args": command, "tty": tty, "env": env }))?;
    attach::run(&client.api, text(&answer, "/attach_url"), tty).map(ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_word_may_name_the_dyno() {
        let words = ["web.2".to_owned(), "env".to_owned()];
        assert_eq!(split_dyno("web.1", &words), ("web.2", &words[1..]));
        assert_eq!(split_dyno("web.1", &words[1..]), ("web.1", &words[1..]));
        let words = ["web.2", "--", "env", "--"].map(str::to_owned);
        assert_eq!(split_dyno("web.1", &words), ("web.2", &words[2..]));
    }

    #[test]
    fn words_are_joined_as_a_shell_reads_them() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(command_line(&words(&["python -c \"print(1)\""])), "python -c \"print(1)\"");
        assert_eq!(command_line(&words(&["echo", "a b", "c\"d"])), r#"echo "a b" "c\"d""#);
    }
}
