//! logs, and copying any output stream to the terminal.

use std::io::{Read, Write as _};

use serde_json::json;

use crate::args::AppArg;
use crate::client::Client;
use crate::context::app_name;
use crate::error::{CliError, Result};
use crate::output::text;

pub(crate) fn show(client: &Client, app: &AppArg, tail: bool, num: u32, dyno: Option<String>, source: Option<String>) -> Result<()> {
    let mut body = json!({ "lines": num, "tail": tail });
    if let Some(dyno) = dyno {
        body["dyno"] = json!(dyno);
    }
    if let Some(source) = source {
        body["source"] = json!(source);
    }
    let session = client.post(&format!("/apps/{}/log-sessions", app_name(app)?), &body)?;
    copy_stream(client, text(&session, "/logplex_url"))
}

/// Copies a text stream as it comes. A reader that goes away (`| head`) ends it quietly.
pub(crate) fn copy_stream(client: &Client, url: &str) -> Result<()> {
    let mut stream = client.stream(url)?;
    let mut out = std::io::stdout().lock();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CliError::io("the stream broke off", error, "repeat the command")),
        };
        if out.write_all(&buffer[..count]).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
}
