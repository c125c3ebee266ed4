//! login, logout, whoami, and git's credential helper.

use std::io::Read as _;
use std::process::Command;

use base64::Engine as _;
use serde_json::json;

use crate::client::Client;
use crate::credentials::{Credentials, Login};
use crate::error::{CliError, Result};
use crate::output::text;
use crate::prompt;

const AGAIN: &str = "landfall login";

/// Trades e-mail and password for a token, or checks a given one, and keeps it.
pub(crate) fn login(client: Client, email: Option<String>, token_on_stdin: bool) -> Result<()> {
    let (email, token) = if token_on_stdin { token_from_stdin(&client)? } else { token_for_password(&client, email)? };
    let mut credentials = Credentials::load()?;
    credentials.default = Some(client.api.clone());
    credentials.servers.insert(client.api.clone(), Login { email: email.clone(), token });
    credentials.save()?;
    teach_git(&client.api);
    println!("Logged in to {} as {email}", client.api);
    Ok(())
}

fn token_from_stdin(client: &Client) -> Result<(String, String)> {
    let mut token = String::new();
    std::io::stdin()
        .take(4096)
        .read_to_string(&mut token)
        .map_err(|error| CliError::io("reading the token", error, "echo TOKEN | landfall login --token"))?;
    let token = token.trim().to_owned();
    let account = client.get_as(&format!("Bearer {token}"), "/account")?;
    Ok((text(&account, "/email").to_owned(), token))
}

fn token_for_password(client: &Client, email: Option<String>) -> Result<(String, String)> {
    let instead = "echo TOKEN | landfall login --token";
    let email = email.map_or_else(|| prompt::line("Email", instead), Ok)?;
    let password = prompt::secret("Password", instead)?;
    let token = token_by_password(client, &email, &password)?;
    Ok((email, token))
}

/// A new token of an account. What it is for is its description: a login from this machine.
pub(crate) fn token_by_password(client: &Client, email: &str, password: &str) -> Result<String> {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{email}:{password}"));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let body = json!({ "description": format!("landfall login from {}", host.trim()), "scope": ["global"] });
    let answer = client.post_as(&format!("Basic {basic}"), "/oauth/authorizations", &body)?;
    let token = text(&answer, "/access_token/token");
    if token.is_empty() {
        return Err(CliError::new("the server answered without a token", AGAIN));
    }
    Ok(token.to_owned())
}

/// Lets `git push` over HTTP ask this program for the token. Best effort: a machine without git can still log in.
pub(crate) fn teach_git(api: &str) {
    let Ok(program) = std::env::current_exe() else { return };
    let helper = format!("{} git:credentials", program.display());
    let _ = Command::new("git").args(["config", "--global", "--replace-all", &format!("credential.{api}.helper"), &helper]).output();
}

/// Revokes the token and forgets it.
pub(crate) fn logout(client: &Client) -> Result<()> {
    let mut credentials = Credentials::load()?;
    if credentials.servers.remove(&client.api).is_none() {
        println!("Not logged in to {}", client.api);
        return Ok(());
    }
    let revoked = client.delete("/oauth/sessions/~");
    credentials.default = credentials.default.filter(|api| *api != client.api);
    credentials.save()?;
    let _ = Command::new("git").args(["config", "--global", "--unset-all", &format!("credential.{}.helper", client.api)]).output();
    revoked.map_err(|error| {
        CliError::new(format!("the login is forgotten here, but the server did not revoke its token:\n{}", error.message), AGAIN)
    })?;
    println!("Logged out of {}", client.api);
    Ok(())
}

/// The account the server sees.
pub(crate) fn whoami(client: &Client) -> Result<()> {
    println!("{}", text(&client.get("/account")?, "/email"));
    Ok(())
}

/// git's credential helper protocol: answers `get` for a server we are logged in to, and nothing else.
pub(crate) fn git_credentials(operation: &str) -> Result<()> {
    if operation != "get" {
        return Ok(());
    }
    let mut question = String::new();
    std::io::stdin().take(64 * 1024).read_to_string(&mut question).map_err(|error| CliError::io("reading git's question", error, AGAIN))?;
    let field = |name: &str| question.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let (Some(protocol), Some(host)) = (field("protocol"), field("host")) else { return Ok(()) };
    let api = format!("{protocol}://{host}");
    if let Some(login) = Credentials::load()?.servers.get(&api) {
        println!("username=landfall\npassword={}", login.token);
    }
    Ok(())
}
