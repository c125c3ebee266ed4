//! The Platform API as the commands use it: JSON in, JSON out, errors for people.

use std::io::Read;
use std::time::Duration;

use serde_json::Value;

use crate::credentials::{Credentials, DEFAULT_API};
use crate::error::{CliError, Result};
use crate::output::printable;

const ACCEPT: &str = "application/vnd.heroku+json; version=3";
/// Answers are held in memory; a log stream is not read this way.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// One server and, if logged in, a token.
pub(crate) struct Client {
    /// `http://127.0.0.1:5000`, without a trailing slash.
    pub(crate) api: String,
    /// The account, when the credentials file names it.
    pub(crate) email: Option<String>,
    token: Option<String>,
    agent: ureq::Agent,
    /// Without a limit on how long an answer lasts.
    streams: ureq::Agent,
}

/// Connecting, the server's name included.
const CONNECT: Duration = Duration::from_secs(15);
/// The first word of an answer: a dyno may have to be started, or a build to be ended, before it.
const ANSWER: Duration = Duration::from_mins(2);
/// The whole of an answer that is not a stream.
const BODY: Duration = Duration::from_mins(2);

/// Whether an answer may go on for ever.
fn agent(streams: bool) -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_recv_body((!streams).then_some(BODY))
        .build()
        .into()
}

impl Client {
    /// The server named by `--api`/`LANDFALL_API`, else the default login's, else this machine's; the token from `LANDFALL_API_KEY`, else the login.
    pub(crate) fn open(api: Option<&str>) -> Result<Self> {
        let credentials = Credentials::load()?;
        let api = api
            .filter(|api| !api.is_empty())
            .map(str::to_owned)
            .or_else(|| credentials.default.clone())
            .unwrap_or_else(|| DEFAULT_API.to_owned());
        let api = api.trim_end_matches('/').to_owned();
        if !api.starts_with("http://") && !api.starts_with("https://") {
            return Err(CliError::new(format!("the API address {api:?} is not a URL"), format!("--api {DEFAULT_API}")));
        }
        let login = credentials.servers.get(&api);
        let token = std::env::var("LANDFALL_API_KEY").ok().filter(|key| !key.is_empty()).or_else(|| login.map(|login| login.token.clone()));
        let email = login.map(|login| login.email.clone());
        Ok(Self { email, api, token, agent: agent(false), streams: agent(true) })
    }

    /// The token, or the advice to log in.
    pub(crate) fn token(&self) -> Result<&str> {
        self.token.as_deref().ok_or_else(|| CliError::new(format!("you are not logged in to {}", self.api), "landfall login"))
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, None, &[])
    }

    /// GET with a `Range` header, for newest-first lists.
    pub(crate) fn get_range(&self, path: &str, range: &str) -> Result<Value> {
        self.call("GET", path, None, &[("range", range)])
    }

    /// POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, Some(body), &[])
    }

    /// PATCH.
    pub(crate) fn patch(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("PATCH", path, Some(body), &[])
    }

    /// DELETE.
    pub(crate) fn delete(&self, path: &str) -> Result<Value> {
        self.call("DELETE", path, None, &[])
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Result<Value> {
        let token = self.token()?;
        self.send(method, path, body, headers, &format!("Bearer {token}"))
    }

    /// GET with other credentials than the login's.
    pub(crate) fn get_as(&self, authorization: &str, path: &str) -> Result<Value> {
        self.send("GET", path, None, &[], authorization)
    }

    /// POST with other credentials than the token (login).
    pub(crate) fn post_as(&self, authorization: &str, path: &str, body: &Value) -> Result<Value> {
        self.send("POST", path, Some(body), &[], authorization)
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>, headers: &[(&str, &str)], authorization: &str) -> Result<Value> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.api))
            .header("accept", ACCEPT)
            .header("authorization", authorization);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(bytes).map_err(|error| CliError::plain(format!("the request to {path} cannot be made: {error}")))?;
        let response = self.agent.run(request).map_err(|error| match error {
            ureq::Error::Io(error) if method != "GET" && was_sent(&error) => self.unanswered(&error),
            error => self.unreachable(&error),
        })?;
        let status = response.status().as_u16();
        let id = request_id(response.headers());
        let mut text = String::new();
        response.into_body().into_reader().take(MAX_ANSWER_BYTES).read_to_string(&mut text).map_err(|error| match method {
            "GET" => CliError::io(format!("reading the answer of {}", self.api), error, "try again"),
            _ => self.unanswered(&error),
        })?;
        if (200..300).contains(&status) {
            if text.trim().is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_str(&text)
                .map_err(|error| CliError::new(format!("{} answered something that is not JSON: {error}", self.api), "landfall whoami"));
        }
        Err(refusal(&self.api, status, &text, id.as_deref()))
    }

    /// A streaming GET of an absolute URL, unauthenticated: log sessions and output streams carry their secret in the URL.
    pub(crate) fn stream(&self, url: &str) -> Result<impl Read + use<>> {
        let response = self.streams.get(url).header("accept", "text/plain").call().map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            let id = request_id(response.headers());
            let mut text = String::new();
            let _ = response.into_body().into_reader().take(4096).read_to_string(&mut text);
            return Err(refusal(&self.api, status, &text, id.as_deref()));
        }
        Ok(response.into_body().into_reader())
    }

    /// A change that may have been made, or not: the server died in between, say.
    fn unanswered(&self, error: &std::io::Error) -> CliError {
        CliError::new(
            format!("{} went away before it answered ({error}); nobody knows here whether it did what was asked", self.api),
            "landfall releases, landfall apps:info or landfall ps show what is true; repeat the command if it was not done",
        )
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        CliError::new(
            format!("{} does not answer: {error}", self.api),
            "landfall up   (on the server, as root), or landfall login --api URL for another server",
        )
    }
}

/// The name under which the server's log knows a request.
fn request_id(headers: &http::HeaderMap) -> Option<String> {
    headers.get("request-id").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// What the server said, and what to type next: its own words have it, or else the status tells.
fn refusal(api: &str, status: u16, text: &str, request: Option<&str>) -> CliError {
    let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let message = body["message"].as_str().map_or_else(|| format!("{api} answered {status}"), printable);
    let told = message.contains("landfall ");
    let named = match request {
        Some(id) if status >= 500 => format!("{message}\nThe server's log knows more of request {}.", printable(id)),
        _ => message.clone(),
    };
    match status {
        401 if !told => CliError::new(message, "landfall login"),
        429 => CliError::new(message, "wait a minute and repeat the command"),
        502..=504 => CliError::new(named, "repeat the command in a minute; on the server: landfall doctor"),
        500.. => CliError::new(named, "landfall doctor, or ask the operator to look at the server's log"),
        _ if told => CliError::plain(message),
        403 => CliError::new(message, "landfall whoami"),
        404 => CliError::new(message, "landfall apps"),
        409 => CliError::new(message, "landfall apps:info, then repeat the command when that is over"),
        406 | 426 => CliError::new(message, "install the landfall command of this server's version"),
        413 => CliError::new(message, "send less, then repeat the command"),
        _ => CliError::new(message, "repeat the command with --help"),
    }
}

/// Whether a connection was there and broke, so that the request may have been heard.
fn was_sent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_says_what_to_type() {
        let shown = [400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503]
            .map(|status| {
                let refused = refusal("http://paas", status, r#"{"id":"x","message":"It did not work."}"#, Some("1234"));
                format!("{status}\n{refused}")
            })
            .concat();
        insta::assert_snapshot!(shown, @r#"
        400
         !    It did not work.
         !    Next: repeat the command with --help
        401
         !    It did not work.
         !    Next: landfall login
        403
         !    It did not work.
         !    Next: landfall whoami
        404
         !    It did not work.
         !    Next: landfall apps
        405
         !    It did not work.
         !    Next: repeat the command with --help
        409
         !    It did not work.
         !    Next: landfall apps:info, then repeat the command when that is over
        413
         !    It did not work.
         !    Next: send less, then repeat the command
        422
         !    It did not work.
         !    Next: repeat the command with --help
        429
         !    It did not work.
         !    Next: wait a minute and repeat the command
        500
         !    It did not work.
         !    The server's log knows more of request 1234.
         !    Next: landfall doctor, or ask the operator to look at the server's log
        503
         !    It did not work.
         !    The server's log knows more of request 1234.
         !    Next: repeat the command in a minute; on the server: landfall doctor
        "#);
        let own =
            refusal("http://paas", 404, r#"{"message":"Couldn't find that domain. See the domains: landfall domains\u001b[2J"}"#, None);
        assert_eq!((own.next.as_deref(), own.message.contains('\u{1b}')), (None, false));
        assert_eq!(refusal("http://paas", 502, "<html>", None).message, "http://paas answered 502");
    }
}
