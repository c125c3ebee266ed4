//! ps, ps:scale, ps:type, ps:restart, ps:stop.

use std::collections::BTreeMap;

use landfall_model::{DynoName, DynoSize, ProcessType};
use serde_json::{Value, json};

use crate::args::{AppArg, AppListing};
use crate::client::Client;
use crate::context::app_name;
use crate::error::{CliError, Result};
use crate::output::{self, printable, text, when};

pub(crate) fn list(client: &Client, listing: &AppListing) -> Result<()> {
    let app = app_name(&listing.app)?;
    let dynos = client.get(&format!("/apps/{app}/dynos"))?;
    if listing.json.json {
        output::json(&dynos);
        return Ok(());
    }
    let mut groups: BTreeMap<(&str, &str, &str), Vec<&Value>> = BTreeMap::new();
    for dyno in dynos.as_array().into_iter().flatten() {
        groups.entry((text(dyno, "/type"), text(dyno, "/size"), text(dyno, "/command"))).or_default().push(dyno);
    }
    if groups.is_empty() {
        println!("{app} has no dynos. Next: landfall ps:scale web=1 -a {app}");
    }
    for ((process_type, size, command), mut dynos) in groups {
        output::heading(&format!("{process_type} ({size}): {} ({})", printable(command), dynos.len()));
        dynos.sort_by_key(|dyno| text(dyno, "/name").parse::<DynoName>().map_or(0, |name| name.index));
        let row = |dyno: &&Value| {
            vec![
                format!("{}:", text(dyno, "/name")),
                text(dyno, "/state").to_owned(),
                when(&dyno["updated_at"]),
                format!("v{}", dyno["release"]["version"]),
            ]
        };
        println!("{}", output::table(&dynos.iter().map(row).collect::<Vec<_>>()));
    }
    Ok(())
}

fn show_formation(client: &Client, listing: &AppListing) -> Result<()> {
    let formation = client.get(&format!("/apps/{}/formation", app_name(&listing.app)?))?;
    print_formation(&formation, listing)
}

fn print_formation(formation: &Value, listing: &AppListing) -> Result<()> {
    if listing.json.json {
        output::json(formation);
        return Ok(());
    }
    let rows: Vec<Vec<String>> = formation
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            vec![
                format!("{}={}", text(entry, "/type"), entry["quantity"]),
                text(entry, "/size").to_owned(),
                printable(text(entry, "/command")),
            ]
        })
        .collect();
    if rows.is_empty() {
        println!("{} has no process types yet. Next: git push landfall main", app_name(&listing.app)?);
    }
    print!("{}", output::table(&rows));
    Ok(())
}

/// `web=3`, `web=3:standard-2x`, `web+1`, `web-1`.
fn parse_scale(change: &str) -> Result<Value> {
    let bad = || CliError::new(format!("\"{change}\" is not TYPE=QUANTITY[:SIZE], TYPE+N or TYPE-N"), "landfall ps:scale web=2");
    let at = change.find(['=', '+']).or_else(|| change.rfind('-')).ok_or_else(bad)?;
    let process_type: ProcessType = change[..at].parse().map_err(|_| bad())?;
    let sign = &change[at..=at];
    let (quantity, size) = change[at + 1..].split_once(':').map_or((&change[at + 1..], None), |(quantity, size)| (quantity, Some(size)));
    quantity.parse::<u64>().map_err(|_| bad())?;
    let quantity = if sign == "=" { quantity.to_owned() } else { format!("{sign}{quantity}") };
    let mut update = json!({ "type": process_type, "quantity": quantity });
    if let Some(size) = size {
        update["size"] = json!(parse_size(size)?);
    }
    Ok(update)
}

fn parse_size(size: &str) -> Result<DynoSize> {
    size.parse().map_err(|error: landfall_model::UnknownSize| CliError::new(error.to_string(), "landfall ps:type web=standard-1x"))
}

pub(crate) fn scale(client: &Client, listing: &AppListing, changes: &[String]) -> Result<()> {
    if changes.is_empty() {
        return show_formation(client, listing);
    }
    let updates = changes.iter().map(|change| parse_scale(change)).collect::<Result<Vec<_>>>()?;
    update_formation(client, listing, updates)
}

pub(crate) fn resize(client: &Client, listing: &AppListing, changes: &[String]) -> Result<()> {
    let app = app_name(&listing.app)?;
    let updates = match changes {
        [] => return show_formation(client, listing),
        [size] if !size.contains('=') => {
            let size = parse_size(size)?;
            let formation = client.get(&format!("/apps/{app}/formation"))?;
            formation.as_array().into_iter().flatten().map(|entry| json!({ "type": entry["type"], "size": size })).collect()
        }
        pairs => pairs.iter().map(|pair| resize_pair(pair)).collect::<Result<Vec<_>>>()?,
    };
    update_formation(client, listing, updates)
}

fn resize_pair(pair: &str) -> Result<Value> {
    let (process_type, size) =
        pair.split_once('=').ok_or_else(|| CliError::new(format!("\"{pair}\" is not TYPE=SIZE"), "landfall ps:type web=standard-2x"))?;
    Ok(json!({ "type": process_type, "size": parse_size(size)? }))
}

fn update_formation(client: &Client, listing: &AppListing, updates: Vec<Value>) -> Result<()> {
    let app = app_name(&listing.app)?;
    let formation = client.patch(&format!("/apps/{app}/formation"), &json!({ "updates": updates }))?;
    print_formation(&formation, listing)
}

/// Whether the word is a dyno (`web.1`) or a type (`web`).
fn is_dyno(word: &str) -> bool {
    word.parse::<DynoName>().is_ok()
}

pub(crate) fn restart(client: &Client, app: &AppArg, what: Option<&str>) -> Result<()> {
    let name = app_name(app)?;
    match what {
        None => client.delete(&format!("/apps/{name}/dynos"))?,
        Some(dyno) if is_dyno(dyno) => client.delete(&format!("/apps/{name}/dynos/{dyno}"))?,
        Some(process_type) => client.delete(&format!("/apps/{name}/formations/{process_type}"))?,
    };
    println!("Restarting {} of {name}", what.unwrap_or("all dynos"));
    Ok(())
}

pub(crate) fn stop(client: &Client, app: &AppArg, what: &str) -> Result<()> {
    let name = app_name(app)?;
    let kind = if is_dyno(what) { "dynos" } else { "formations" };
    client.post(&format!("/apps/{name}/{kind}/{what}/actions/stop"), &json!({}))?;
    println!("Stopping {what} of {name}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_words() {
        assert_eq!(parse_scale("web=3").unwrap(), json!({"type": "web", "quantity": "3"}));
        assert_eq!(parse_scale("web+1").unwrap(), json!({"type": "web", "quantity": "+1"}));
        assert_eq!(parse_scale("my-worker-2").unwrap(), json!({"type": "my-worker", "quantity": "-2"}));
        assert_eq!(parse_scale("web=1:standard-2x").unwrap(), json!({"type": "web", "quantity": "1", "size": "Standard-2X"}));
        for bad in ["web", "web=", "web=x", "=3", "web=1:mega", "web=-1"] {
            assert!(parse_scale(bad).is_err(), "{bad}");
        }
    }
}
