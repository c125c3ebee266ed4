//! domains, domains:add, domains:remove.

use landfall_model::Hostname;
use serde_json::{Value, json};

use crate::args::{AppArg, AppListing};
use crate::client::Client;
use crate::context::app_name;
use crate::error::{CliError, Result};
use crate::output::{self, text};

pub(crate) fn list(client: &Client, listing: &AppListing) -> Result<()> {
    let app = app_name(&listing.app)?;
    let domains = client.get(&format!("/apps/{app}/domains"))?;
    if listing.json.json {
        output::json(&domains);
        return Ok(());
    }
    output::heading(&format!("{app} Domains"));
    let row = |domain: &Value| {
        vec![
            text(domain, "/hostname").to_owned(),
            if text(domain, "/kind") == "custom" { "custom".into() } else { "from the platform".into() },
        ]
    };
    print!("{}", output::table(&domains.as_array().into_iter().flatten().map(row).collect::<Vec<_>>()));
    Ok(())
}

fn parse(hostname: &str) -> Result<Hostname> {
    hostname.parse().map_err(|error: landfall_model::NameError| CliError::new(error.to_string(), "landfall domains:add www.example.com"))
}

pub(crate) fn add(client: &Client, app: &AppArg, hostname: &str) -> Result<()> {
    let name = app_name(app)?;
    let hostname = parse(hostname)?;
    client.post(&format!("/apps/{name}/domains"), &json!({ "hostname": hostname, "sni_endpoint": null }))?;
    println!("Added {hostname} to {name}. Next: point its DNS (A, AAAA or CNAME) at this server");
    Ok(())
}

pub(crate) fn remove(client: &Client, app: &AppArg, hostname: &str) -> Result<()> {
    let name = app_name(app)?;
    let hostname = parse(hostname)?;
    client.delete(&format!("/apps/{name}/domains/{hostname}"))?;
    println!("Removed {hostname} from {name}");
    Ok(())
}
