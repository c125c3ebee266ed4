//! config, config:get, config:set, config:unset, config:edit.

use std::io::{IsTerminal as _, Write as _};
use std::process::Command;

use landfall_model::ConfigKey;
use serde_json::{Map, Value, json};

use crate::args::{AppArg, AppListing};
use crate::client::Client;
use crate::context::app_name;
use crate::error::{CliError, Result};
use crate::output::{self, printable};
use crate::prompt;

fn vars(client: &Client, app: &AppArg) -> Result<Map<String, Value>> {
    match client.get(&format!("/apps/{}/config-vars", app_name(app)?))? {
        Value::Object(vars) => Ok(vars),
        _ => Err(CliError::new("the server's answer is no map of config vars", "landfall whoami")),
    }
}

pub(crate) fn list(client: &Client, listing: &AppListing, shell: bool) -> Result<()> {
    let vars = vars(client, &listing.app)?;
    if listing.json.json {
        output::json(&Value::Object(vars));
        return Ok(());
    }
    let value = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if shell {
        for (key, secret) in &vars {
            println!("{key}={}", quoted(&value(secret)));
        }
        return Ok(());
    }
    output::heading(&format!("{} Config Vars", app_name(&listing.app)?));
    let rows: Vec<Vec<String>> = vars.iter().map(|(key, secret)| vec![format!("{key}:"), printable(&value(secret))]).collect();
    print!("{}", output::table(&rows));
    Ok(())
}

/// A value as a POSIX shell reads it back: bare when harmless, else in single quotes.
fn quoted(value: &str) -> String {
    let bare = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:@%+,".contains(&b));
    if bare { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

pub(crate) fn get(client: &Client, app: &AppArg, key: &str) -> Result<()> {
    let vars = vars(client, app)?;
    let value = vars.get(key).and_then(Value::as_str);
    let value = value.ok_or_else(|| CliError::new(format!("{key} is not set"), format!("landfall config:set {key}=VALUE")))?;
    println!("{value}");
    Ok(())
}

fn parse_pair(pair: &str) -> Result<(ConfigKey, String)> {
    let (key, value) = pair
        .split_once('=')
        .ok_or_else(|| CliError::new(format!("\"{pair}\" is not KEY=VALUE"), format!("landfall config:set {pair}=VALUE")))?;
    let key = key.parse().map_err(|error: landfall_model::NameError| CliError::new(error.to_string(), "landfall config:set KEY=VALUE"))?;
    Ok((key, value.to_owned()))
}

pub(crate) fn set(client: &Client, app: &AppArg, pairs: &[String]) -> Result<()> {
    let mut body = Map::new();
    for pair in pairs {
        let (key, value) = parse_pair(pair)?;
        body.insert(key.into(), Value::String(value));
    }
    let keys: Vec<String> = body.keys().cloned().collect();
    patch(client, app, body)?;
    println!("Set {} and restarting {}, {}", keys.join(", "), app_name(app)?, newest_release(client, app)?);
    Ok(())
}

pub(crate) fn unset(client: &Client, app: &AppArg, keys: &[String]) -> Result<()> {
    let body: Map<String, Value> = keys.iter().map(|key| (key.clone(), Value::Null)).collect();
    let known = vars(client, app)?;
    if let Some(absent) = keys.iter().find(|key| !known.contains_key(*key)) {
        return Err(CliError::new(format!("{absent} is not set, so nothing was changed"), "landfall config"));
    }
    patch(client, app, body)?;
    println!("Unset {} and restarting {}, {}", keys.join(", "), app_name(app)?, newest_release(client, app)?);
    Ok(())
}

fn patch(client: &Client, app: &AppArg, body: Map<String, Value>) -> Result<Value> {
    client.patch(&format!("/apps/{}/config-vars", app_name(app)?), &Value::Object(body))
}

fn newest_release(client: &Client, app: &AppArg) -> Result<String> {
    let releases = client.get_range(&format!("/apps/{}/releases", app_name(app)?), "version ..; order=desc,max=1")?;
    Ok(format!("v{}", releases[0]["version"]))
}

/// One line a var: `KEY=value`, the value as a JSON string where it needs more than one line or could be misread.
fn to_text(vars: &Map<String, Value>) -> String {
    let mut text =
        String::from("# One KEY=value a line. Values with newlines or quotes stand as JSON strings. Lines with # are ignored.\n");
    for (key, value) in vars {
        let value = value.as_str().unwrap_or_default();
        let plain = !value.contains(['\n', '\r']) && !value.starts_with('"') && value.trim() == value;
        let shown = if plain { value.to_owned() } else { json!(value).to_string() };
        text.extend([key.as_str(), "=", &shown, "\n"]);
    }
    text
}

/// The inverse of [`to_text`]; what is wrong is told with its line.
fn from_text(text: &str) -> Result<Map<String, Value>> {
    let mut vars = Map::new();
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#')) {
        let wrong = |message: String| CliError::new(format!("line {number}: {message}"), "landfall config:edit");
        let (key, value) = parse_pair(line).map_err(|error| wrong(error.message))?;
        let value = if value.starts_with('"') {
            serde_json::from_str(&value).map_err(|error| wrong(format!("the value of {key} is no JSON string: {error}")))?
        } else {
            value
        };
        if vars.insert(key.to_string(), Value::String(value)).is_some() {
            return Err(wrong(format!("{key} is there twice")));
        }
    }
    Ok(vars)
}

/// Opens the text in the person's editor; gives what it became.
fn edited(text: &str) -> Result<String> {
    let io = |error| CliError::io("editing the config vars", error, "landfall config:set KEY=VALUE");
    let mut file = tempfile::Builder::new().prefix("landfall-config").suffix(".env").tempfile().map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    let editor = std::env::var("VISUAL").or_else(|_| std::env::var("EDITOR")).unwrap_or_else(|_| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program)
        .args(words)
        .arg(file.path())
        .status()
        .map_err(|error| CliError::io(format!("starting {program}"), error, "EDITOR=nano landfall config:edit"))?;
    if !status.success() {
        return Err(CliError::new(format!("{program} ended with {status}, so nothing was changed"), "landfall config:edit"));
    }
    // Editors that write a new file and rename it leave our handle on the old one: read by path.
    std::fs::read_to_string(file.path()).map_err(io)
}

/// Edits until the text can be read, or the person gives up: on a terminal nobody has to type it all again.
fn edited_vars(before: &Map<String, Value>) -> Result<Map<String, Value>> {
    let mut text = to_text(before);
    loop {
        text = edited(&text)?;
        let mut error = match from_text(&text) {
            Ok(vars) => return Ok(vars),
            Err(error) => error,
        };
        if std::io::stdin().is_terminal() {
            eprint!("{error}");
            let answer = prompt::line("Enter opens the editor again, q gives up", "landfall config:edit")?;
            if answer.trim().is_empty() {
                continue;
            }
        }
        error.message.push_str("\nSo nothing was changed");
        return Err(error);
    }
}

pub(crate) fn edit(client: &Client, app: &AppArg) -> Result<()> {
    let before = vars(client, app)?;
    let after = edited_vars(&before)?;
    let mut changes: Map<String, Value> =
        after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    changes.extend(before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null)));
    if changes.is_empty() {
        println!("No changes");
        return Ok(());
    }
    let now = vars(client, app)?;
    let both: Vec<&str> = changes.keys().filter(|key| now.get(*key) != before.get(*key)).map(String::as_str).collect();
    if !both.is_empty() {
        return Err(CliError::new(
            format!("{} changed while you were editing, by somebody else, so nothing of yours was saved", both.join(", ")),
            "landfall config:edit",
        ));
    }
    let keys = changes.keys().cloned().collect::<Vec<_>>().join(", ");
    patch(client, app, changes)?;
    println!("Changed {keys} and restarting {}, {}", app_name(app)?, newest_release(client, app)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edited_text_round_trips_awkward_values() {
        let vars: Map<String, Value> =
            [("A", "plain"), ("B", "two\nlines"), ("C", "\"quoted\""), ("D", " spaced "), ("E", "a=b#c"), ("F", "")]
                .map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())))
                .into_iter()
                .collect();
        assert_eq!(from_text(&to_text(&vars)).unwrap(), vars);
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, words) in [
            ("# comment\n\nA=1\nno pair\n", "line 4: \"no pair\" is not KEY=VALUE"),
            ("A=1\nA=2\n", "line 2: A is there twice"),
            ("A B=1\n", "line 1: config key \"A B\" may hold only"),
            ("A=\"open\n", "line 1: the value of A is no JSON string"),
        ] {
            assert!(from_text(text).unwrap_err().message.starts_with(words), "{text}");
        }
    }

    #[test]
    fn shell_form_quotes_what_a_shell_would_read() {
        assert_eq!(quoted("a-b.c"), "a-b.c");
        assert_eq!(quoted("it's $x"), r"'it'\''s $x'");
        assert_eq!(quoted(""), "''");
    }
}
