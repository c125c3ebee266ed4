//! audit: who did what.

use serde_json::Value;

use crate::args::JsonArg;
use crate::client::Client;
use crate::error::Result;
use crate::output::{self, printable, text, when};

pub(crate) fn list(client: &Client, json: JsonArg, num: u32) -> Result<()> {
    let entries = client.get_range("/audit", &format!("sequence ..; max={num}, order=desc"))?;
    if json.json {
        output::json(&entries);
        return Ok(());
    }
    print!("{}", output::table(&entries.as_array().into_iter().flatten().map(row).collect::<Vec<_>>()));
    Ok(())
}

/// What is gone is shown by its id.
fn name<'a>(entry: &'a Value, of: &str, field: &str) -> &'a str {
    let known = text(entry, &format!("/{of}/{field}"));
    if known.is_empty() { text(entry, &format!("/{of}/id")) } else { known }
}

fn row(entry: &Value) -> Vec<String> {
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { printable(text).replace('\n', " ") };
    vec![
        when(&entry["created_at"]),
        shown(text(entry, "/action")),
        shown(name(entry, "actor", "email")),
        shown(text(entry, "/address")),
        shown(name(entry, "app", "name")),
        printable(text(entry, "/detail")).replace('\n', " "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_entry_is_a_line() {
        let entry = json!({
            "sequence": 3, "created_at": "2026-01-02T03:04:05Z", "action": "login.failed", "detail": "eve\u{1b}[2J\nroot", "address": null,
            "actor": null, "app": { "id": "0e9f", "name": null }
        });
        assert_eq!(row(&entry), ["2026-01-02 03:04:05Z", "login.failed", "-", "-", "0e9f", "eve\u{fffd}[2J root"]);
    }
}
