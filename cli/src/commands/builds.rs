//! builds, builds:info, builds:cancel.

use serde_json::Value;

use crate::args::{AppArg, AppListing};
use crate::client::Client;
use crate::context::app_name;
use crate::error::{CliError, Result};
use crate::output::{self, printable, text, when};

fn newest_first(client: &Client, app: &AppArg) -> Result<Vec<Value>> {
    let builds = client.get(&format!("/apps/{}/builds", app_name(app)?))?;
    let mut builds = builds.as_array().cloned().unwrap_or_default();
    // A clock may have been set between two of them; times are told in whole seconds, and ids are in the order they were made in.
    let place = |build: &Value| (build["number"].as_u64(), text(build, "/created_at").to_owned(), text(build, "/id").to_owned());
    builds.sort_by_key(|build| std::cmp::Reverse(place(build)));
    Ok(builds)
}

pub(crate) fn list(client: &Client, listing: &AppListing) -> Result<()> {
    let builds = newest_first(client, &listing.app)?;
    if listing.json.json {
        output::json(&Value::Array(builds));
        return Ok(());
    }
    let app = app_name(&listing.app)?;
    if builds.is_empty() {
        println!("{app} was never built. Next: git push landfall main");
        return Ok(());
    }
    output::heading(&format!("{app} Builds"));
    let row = |build: &Value| {
        let commit: String = text(build, "/source_blob/version").chars().take(8).collect();
        vec![
            text(build, "/id").to_owned(),
            text(build, "/status").to_owned(),
            commit,
            text(build, "/user/email").to_owned(),
            when(&build["created_at"]),
        ]
    };
    print!("{}", output::table(&builds.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn newest_id(client: &Client, app: &AppArg) -> Result<String> {
    let newest = newest_first(client, app)?.into_iter().next();
    newest.map(|build| text(&build, "/id").to_owned()).ok_or_else(|| CliError::new("this app was never built", "git push landfall main"))
}

pub(crate) fn info(client: &Client, listing: &AppListing, build: Option<String>) -> Result<()> {
    let id = build.map_or_else(|| newest_id(client, &listing.app), Ok)?;
    let build = client.get(&format!("/apps/{}/builds/{id}", app_name(&listing.app)?))?;
    if listing.json.json {
        output::json(&build);
        return Ok(());
    }
    output::heading(&format!("Build {id}"));
    let buildpacks =
        build["buildpacks"].as_array().into_iter().flatten().map(|pack| text(pack, "/name").to_owned().if_empty(text(pack, "/url")));
    let rows = [
        ("Status:", text(&build, "/status").to_owned()),
        ("By:", text(&build, "/user/email").to_owned()),
        ("Commit:", printable(text(&build, "/source_blob/version"))),
        ("Stack:", text(&build, "/stack").to_owned()),
        ("Buildpacks:", buildpacks.collect::<Vec<_>>().join(", ")),
        ("When:", when(&build["created_at"])),
    ];
    println!("{}", output::table(&rows.map(|(label, value)| vec![label.to_owned(), value])));
    match build["output_stream_url"].as_str() {
        Some(url) => super::logs::copy_stream(client, url),
        None => Ok(()),
    }
}

trait IfEmpty {
    fn if_empty(self, other: &str) -> String;
}

impl IfEmpty for String {
    fn if_empty(self, other: &str) -> String {
        if self.is_empty() { other.to_owned() } else { self }
    }
}

pub(crate) fn cancel(client: &Client, app: &AppArg, build: Option<String>) -> Result<()> {
    let id = build.map_or_else(|| newest_id(client, app), Ok)?;
    client.delete(&format!("/apps/{}/builds/{id}", app_name(app)?))?;
    println!("Cancelled build {id}");
    Ok(())
}
