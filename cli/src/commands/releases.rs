//! releases, releases:info, releases:output, rollback.

use serde_json::{Value, json};

use crate::args::{AppArg, AppListing, ReleaseArg};
use crate::client::Client;
use crate::context::app_name;
use crate::error::{CliError, Result};
use crate::output::{self, printable, text, when};

pub(crate) fn list(client: &Client, listing: &AppListing, num: u32) -> Result<()> {
    let app = app_name(&listing.app)?;
    let releases = client.get_range(&format!("/apps/{app}/releases"), &format!("version ..; max={num}, order=desc"))?;
    if listing.json.json {
        output::json(&releases);
        return Ok(());
    }
    output::heading(&format!("{app} Releases"));
    let row = |release: &Value| {
        let mark = match (text(release, "/status"), release["current"] == Value::Bool(true)) {
            (_, true) => "current",
            ("succeeded", false) => "",
            (other, false) => other,
        };
        vec![
            format!("v{}", release["version"]),
            printable(text(release, "/description")),
            mark.to_owned(),
            text(release, "/user/email").to_owned(),
            when(&release["created_at"]),
        ]
    };
    print!("{}", output::table(&releases.as_array().into_iter().flatten().map(row).collect::<Vec<_>>()));
    Ok(())
}

/// A release by what was typed: `v3`, `3`, or the newest.
fn find(client: &Client, app: &AppArg, typed: Option<&str>) -> Result<Value> {
    let app = app_name(app)?;
    let Some(typed) = typed else {
        let newest = client.get_range(&format!("/apps/{app}/releases"), "version ..; max=1, order=desc")?;
        return newest.get(0).cloned().ok_or_else(|| CliError::new(format!("{app} has no releases"), "git push landfall main"));
    };
    let number: u32 = typed.trim_start_matches('v').parse().map_err(|_| {
        CliError::new(format!("\"{typed}\" is no release; they are named v1, v2, …"), format!("landfall releases -a {app}"))
    })?;
    let found = client.get(&format!("/apps/{app}/releases/{number}"));
    found.map_err(|error| error.or_next(|| format!("landfall releases -a {app}")))
}

pub(crate) fn info(client: &Client, arg: &ReleaseArg) -> Result<()> {
    let release = find(client, &arg.app, arg.release.as_deref())?;
    if arg.json.json {
        output::json(&release);
        return Ok(());
    }
    output::heading(&format!("Release v{}", release["version"]));
    let rows = [
        ("Change:", printable(text(&release, "/description"))),
        ("By:", text(&release, "/user/email").to_owned()),
        ("When:", when(&release["created_at"])),
        ("Status:", text(&release, "/status").to_owned()),
        ("Current:", if release["current"] == Value::Bool(true) { "yes".into() } else { "no".into() }),
        ("Can be rolled back to:", if release["eligible_for_rollback"] == Value::Bool(true) { "yes".into() } else { "no".into() }),
    ];
    print!("{}", output::table(&rows.map(|(label, value)| vec![label.to_owned(), value])));
    Ok(())
}

pub(crate) fn output(client: &Client, arg: &ReleaseArg) -> Result<()> {
    let release = find(client, &arg.app, arg.release.as_deref())?;
    if let Some(url) = release["output_stream_url"].as_str() {
        return super::logs::copy_stream(client, url);
    }
    println!("v{} had no release phase, so it printed nothing", release["version"]);
    Ok(())
}

pub(crate) fn rollback(client: &Client, app: &AppArg, typed: Option<&str>) -> Result<()> {
    let name = app_name(app)?;
    let target = match typed {
        Some(typed) => find(client, app, Some(typed))?,
        None => before_current(client, app)?,
    };
    let release = client.post(&format!("/apps/{name}/releases"), &json!({ "release": text(&target, "/id") }))?;
    println!("Rolled {name} back to v{}: released v{}", target["version"], release["version"]);
    if let Some(url) = release["output_stream_url"].as_str() {
        super::logs::copy_stream(client, url)?;
    }
    Ok(())
}

fn before_current(client: &Client, app: &AppArg) -> Result<Value> {
    let name = app_name(app)?;
    let releases = client.get_range(&format!("/apps/{name}/releases"), "version ..; max=10, order=desc")?;
    let mut eligible = releases.as_array().into_iter().flatten().filter(|release| release["eligible_for_rollback"] == Value::Bool(true));
    eligible
        .nth(1)
        .cloned()
        .ok_or_else(|| CliError::new(format!("{name} has no earlier release to go back to"), format!("landfall releases -a {name}")))
}
