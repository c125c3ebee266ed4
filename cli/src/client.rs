//! The Platform API as the commands use it: JSON in, JSON out, errors for people.

use std::io::Read;

use serde_json::Value;

use crate::credentials::{Credentials, DEFAULT_API};
use crate::error::{CliError, Result};

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
}

impl Client {
    /// The server named by `--api`/`LANDFALL_API`, else the default login's, else this machine's; the token from `LANDFALL_API_KEY`, else the login.
    pub(crate) fn open(api: Option<&str>) -> Result<Self> {
        let credentials = Credentials::load()?;
        let api = api.map(str::to_owned).or_else(|| credentials.default.clone()).unwrap_or_else(|| DEFAULT_API.to_owned());
        let api = api.trim_end_matches('/').to_owned();
        if !api.starts_with("http://") && !api.starts_with("https://") {
            return Err(CliError::new(format!("the API address {api:?} is not a URL"), format!("--api {DEFAULT_API}")));
        }
        let login = credentials.servers.get(&api);
        let token = std::env::var("LANDFALL_API_KEY").ok().filter(|key| !key.is_empty()).or_else(|| login.map(|login| login.token.clone()));
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("landfall/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { email: login.map(|login| login.email.clone()), api, token, agent: agent.into() })
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
        let response = self.agent.run(request).map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let mut text = String::new();
        response
            .into_body()
            .into_reader()
            .take(MAX_ANSWER_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| CliError::io(format!("reading the answer of {}", self.api), error, "try again"))?;
        if (200..300).contains(&status) {
            if text.trim().is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_str(&text)
                .map_err(|error| CliError::new(format!("{} answered something that is not JSON: {error}", self.api), "landfall whoami"));
        }
        Err(self.refusal(status, &text))
    }

    /// A streaming GET of an absolute URL, unauthenticated: log sessions and output streams carry their secret in the URL.
    pub(crate) fn stream(&self, url: &str) -> Result<impl Read + use<>> {
        let response = self.agent.get(url).header("accept", "text/plain").call().map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            let mut text = String::new();
            let _ = response.into_body().into_reader().take(4096).read_to_string(&mut text);
            return Err(self.refusal(status, &text));
        }
        Ok(response.into_body().into_reader())
    }

    fn unreachable(&self, error: &ureq::Error) -> CliError {
        CliError::new(
            format!("{} does not answer: {error}", self.api),
            "landfall up   (on the server, as root), or landfall login --api URL for another server",
        )
    }

    fn refusal(&self, status: u16, text: &str) -> CliError {
        let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        let id = body["id"].as_str().unwrap_or_default();
        let message = body["message"].as_str().map_or_else(|| format!("{} answered {status}", self.api), str::to_owned);
        match (status, id) {
            (401, _) => CliError::new(message, "landfall login"),
            (404, _) if body["resource"] == "app" && !message.contains("landfall ") => CliError::new(message, "landfall apps"),
            (429, _) => CliError::new(message, "wait a moment and repeat the command"),
            (500.., _) => CliError::new(message, "landfall doctor, or ask the operator to look at the server's log"),
            _ => CliError::plain(message),
        }
    }
}
