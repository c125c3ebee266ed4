//! apps, create, apps:*, open, git:remote, maintenance:*.

use std::process::{Command, Stdio};

use landfall_model::AppName;
use serde_json::{Value, json};

use crate::args::{AppArg, JsonArg};
use crate::client::Client;
use crate::context::{app_name, in_git_repository, remove_remotes, set_remote};
use crate::error::{CliError, Result};
use crate::output::{self, text, when};
use crate::prompt;

pub(crate) fn list(client: &Client, json: JsonArg) -> Result<()> {
    let apps = client.get("/users/~/apps")?;
    if json.json {
        output::json(&apps);
        return Ok(());
    }
    let names: Vec<&str> = apps.as_array().into_iter().flatten().map(|app| text(app, "/name")).collect();
    if names.is_empty() {
        println!("You have no apps. Next: landfall create NAME");
        return Ok(());
    }
    output::heading(&format!("{} Apps", client.email.as_deref().unwrap_or("Your")));
    for name in names {
        println!("{name}");
    }
    Ok(())
}

pub(crate) fn create(
    client: &Client,
    name: Option<String>,
    stack: Option<String>,
    remote: &str,
    no_remote: bool,
    json: JsonArg,
) -> Result<()> {
    let name = name.map(|name| parse_name(&name, "landfall create my-blog")).transpose()?;
    let mut body = name.map_or_else(|| json!({}), |name| json!({ "name": name }));
    if let Some(stack) = stack {
        body["stack"] = json!(stack);
    }
    let app = client.post("/apps", &body)?;
    if json.json {
        output::json(&app);
    } else {
        println!("Created {}", text(&app, "/name"));
        println!("{} | {}", text(&app, "/web_url"), text(&app, "/git_url"));
    }
    if no_remote {
        return Ok(());
    }
    if in_git_repository() {
        set_remote(remote, text(&app, "/git_url"))
    } else {
        eprintln!(
            "This folder is no git repository, so no remote was added. Next: git init && landfall git:remote -a {}",
            text(&app, "/name")
        );
        Ok(())
    }
}

fn parse_name(name: &str, instead: &str) -> Result<AppName> {
    name.parse().map_err(|error: landfall_model::NameError| CliError::new(error.to_string(), instead))
}

pub(crate) fn info(client: &Client, app: &AppArg, json: JsonArg) -> Result<()> {
    let name = app_name(app)?;
    let app = client.get(&format!("/apps/{name}"))?;
    if json.json {
        output::json(&app);
        return Ok(());
    }
    let formation = client.get(&format!("/apps/{name}/formation"))?;
    let dynos = formation.as_array().into_iter().flatten().map(|entry| format!("{}: {}", text(entry, "/type"), entry["quantity"]));
    let collaborators = client.get(&format!("/apps/{name}/collaborators"))?;
    let people = collaborators.as_array().into_iter().flatten().map(|one| text(one, "/user/email")).collect::<Vec<_>>();
    output::heading(text(&app, "/name"));
    let rows = [
        ("Web URL:", text(&app, "/web_url").to_owned()),
        ("Git URL:", text(&app, "/git_url").to_owned()),
        ("Owner:", text(&app, "/owner/email").to_owned()),
        ("Collaborators:", people.join(", ")),
        ("Stack:", text(&app, "/stack/name").to_owned()),
        ("Dynos:", dynos.collect::<Vec<_>>().join(", ")),
        ("Maintenance:", if app["maintenance"] == Value::Bool(true) { "on".into() } else { "off".into() }),
        ("Created:", when(&app["created_at"])),
    ];
    print!("{}", output::table(&rows.map(|(label, value)| vec![label.to_owned(), value])));
    Ok(())
}

pub(crate) fn rename(client: &Client, app: &AppArg, new: &str) -> Result<()> {
    let name = app_name(app)?;
    let new = parse_name(new, &format!("landfall apps:rename my-blog -a {name}"))?;
    let renamed = client.patch(&format!("/apps/{name}"), &json!({ "name": new }))?;
    println!("Renamed {name} to {}", text(&renamed, "/name"));
    println!("{} | {}", text(&renamed, "/web_url"), text(&renamed, "/git_url"));
    if app.app.is_none() && in_git_repository() {
        set_remote(&app.remote, text(&renamed, "/git_url"))?;
        println!("git remote {} now points there", app.remote);
    } else {
        println!("Next, in its folder: landfall git:remote -a {}", text(&renamed, "/name"));
    }
    Ok(())
}

pub(crate) fn destroy(client: &Client, app: &AppArg, confirm: Option<String>) -> Result<()> {
    let name = app_name(app)?;
    let instead = format!("landfall apps:destroy -a {name} --confirm {name}");
    let typed = confirm.map_or_else(
        || prompt::line(&format!("This destroys {name}: its releases, config, domains and logs. Type its name to go on"), &instead),
        Ok,
    )?;
    if typed != name.as_str() {
        return Err(CliError::new(format!("\"{typed}\" is not {name}, so nothing was destroyed"), instead));
    }
    let destroyed = client.delete(&format!("/apps/{name}"))?;
    println!("Destroyed {name}");
    for remote in remove_remotes(text(&destroyed, "/git_url")) {
        println!("Removed the git remote {remote} from this folder");
    }
    Ok(())
}

pub(crate) fn open(client: &Client, app: &AppArg, path: &str) -> Result<()> {
    let app = client.get(&format!("/apps/{}", app_name(app)?))?;
    let url = format!("{}/{}", text(&app, "/web_url").trim_end_matches('/'), in_a_url(path.trim_start_matches('/')));
    println!("{url}");
    if std::env::var_os("DISPLAY").is_some() || std::env::var_os("WAYLAND_DISPLAY").is_some() || cfg!(target_os = "macos") {
        let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let _ = Command::new(opener).arg(&url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    }
    Ok(())
}

/// A path as it may stand in an address: what cannot is escaped, what is escaped already stays.
fn in_a_url(path: &str) -> String {
    path.bytes().map(|byte| if byte.is_ascii_graphic() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

pub(crate) fn git_remote(client: &Client, app: &AppArg) -> Result<()> {
    let info = client.get(&format!("/apps/{}", app_name(app)?))?;
    set_remote(&app.remote, text(&info, "/git_url"))?;
    println!("git remote {} is {}", app.remote, text(&info, "/git_url"));
    Ok(())
}

pub(crate) fn maintenance(client: &Client, app: &AppArg) -> Result<()> {
    let info = client.get(&format!("/apps/{}", app_name(app)?))?;
    println!("{}", if info["maintenance"] == Value::Bool(true) { "on" } else { "off" });
    Ok(())
}

pub(crate) fn maintenance_set(client: &Client, app: &AppArg, on: bool) -> Result<()> {
    let name = app_name(app)?;
    client.patch(&format!("/apps/{name}"), &json!({ "maintenance": on }))?;
    println!("Maintenance mode of {name} is {}", if on { "on: visitors see the maintenance page" } else { "off" });
    Ok(())
}
