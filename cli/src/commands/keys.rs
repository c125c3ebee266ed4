//! keys, keys:add, keys:remove.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::args::JsonArg;
use crate::client::Client;
use crate::error::{CliError, Result};
use crate::output::{self, printable, text};

pub(crate) fn list(client: &Client, json: JsonArg) -> Result<()> {
    let keys = client.get("/account/keys")?;
    if json.json {
        output::json(&keys);
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        keys.as_array().into_iter().flatten().map(|key| vec![text(key, "/fingerprint").to_owned(), printable(comment(key))]).collect();
    if rows.is_empty() {
        println!("You have no SSH keys here. Next: landfall keys:add");
    }
    print!("{}", output::table(&rows));
    Ok(())
}

fn comment(key: &Value) -> &str {
    key["comment"]
        .as_str()
        .filter(|comment| !comment.is_empty())
        .unwrap_or_else(|| text(key, "/public_key").splitn(3, ' ').nth(2).unwrap_or_default().trim())
}

pub(crate) fn add(client: &Client, file: Option<PathBuf>) -> Result<()> {
    let file = file.map_or_else(default_key, Ok)?;
    let public_key = std::fs::read_to_string(&file)
        .map_err(|error| CliError::io(format!("reading {}", file.display()), error, "landfall keys:add FILE.pub"))?;
    if public_key.contains("PRIVATE KEY") {
        return Err(CliError::new(
            format!("{} is a private key; it must never leave this machine", file.display()),
            format!("landfall keys:add {}.pub", file.display()),
        ));
    }
    let key = client.post("/account/keys", &json!({ "public_key": public_key }))?;
    println!("Added {} {}", text(&key, "/fingerprint"), printable(comment(&key)));
    Ok(())
}

fn default_key() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"]
        .iter()
        .map(|name| home.join(".ssh").join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| CliError::new("there is no public key in ~/.ssh", "ssh-keygen -t ed25519 && landfall keys:add"))
}

pub(crate) fn remove(client: &Client, typed: &str) -> Result<()> {
    let keys = client.get("/account/keys")?;
    let matches = |key: &&Value| [text(key, "/id"), text(key, "/fingerprint"), comment(key)].contains(&typed);
    let key = keys.as_array().into_iter().flatten().find(matches);
    let key = key.ok_or_else(|| CliError::new(format!("you have no SSH key \"{typed}\""), "landfall keys"))?;
    client.delete(&format!("/account/keys/{}", text(key, "/id")))?;
    println!("Removed {} {}", text(key, "/fingerprint"), printable(comment(key)));
    Ok(())
}
