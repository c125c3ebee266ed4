//! From text to [`AppJson`], with errors that name the place.

use std::collections::BTreeMap;

use landfall_model::{DynoSize, MAX_QUANTITY, SecretString};
use serde_json::{Map, Value};

use super::{AppJson, CheckKind, EnvSource, EnvWish, FormationWish, HealthCheck, jsonc};

/// Longest `app.json`, in bytes. (Nesting is limited to 128 by the JSON reader.)
pub const MAX_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 500;

/// What is wrong with an `app.json`, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct AppJsonError {
    /// `line 3, column 5` or `formation.web.quantity`.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

type Result<T> = std::result::Result<T, AppJsonError>;

fn wrong<T>(place: &str, problem: impl Into<String>) -> Result<T> {
    Err(AppJsonError { place: place.to_owned(), problem: problem.into() })
}

/// Reads the text of an `app.json`.
pub fn parse(text: &str) -> Result<AppJson> {
    if text.len() > MAX_BYTES {
        return wrong("the whole file", format!("it is longer than {} kB", MAX_BYTES / 1024));
    }
    let (plain, tolerated) = jsonc::plain(text.trim_start_matches('\u{feff}'));
    let value: Value = serde_json::from_str(&plain).or_else(|error| {
        let problem = error.to_string();
        let problem = problem.split(" at line ").next().unwrap_or_default().to_owned();
        wrong(&format!("line {}, column {}", error.line(), error.column()), problem)
    })?;
    let Value::Object(mut root) = value else { return wrong("the whole file", "it must be one JSON object: { … }") };
    let port = root.get_mut("env").and_then(Value::as_object_mut).and_then(|env| env.remove("PORT"));
    let mut app = AppJson {
        name: optional(&root, "name", "")?,
        stack: optional(&root, "stack", "")?,
        env: section(&root, "env", env_wish)?,
        formation: section(&root, "formation", formation)?,
        healthchecks: section(&root, "healthchecks", checks)?,
        postdeploy: None,
        buildpacks: buildpacks(&root)?,
        warnings: Vec::new(),
    };
    if let Some(scripts) = object(&root, "scripts")? {
        app.postdeploy = optional(scripts, "postdeploy", "scripts.")?.filter(|command: &String| !command.trim().is_empty());
    }
    if tolerated {
        app.warnings.push("app.json holds comments or trailing commas; Landfall reads it, Heroku itself would not.".to_owned());
    }
    if port.is_some() {
        app.warnings.push("app.json sets PORT; it is left out, because the platform gives each dyno its own.".to_owned());
    }
    app.warnings.extend(health_warnings(&root));
    if root.contains_key("addons") {
        app.warnings.push("app.json asks for add-ons; create them yourself and set their config vars.".to_owned());
    }
    Ok(app)
}

fn object<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) if object.len() <= MAX_KEYS => Ok(Some(object)),
        Some(Value::Object(_)) => wrong(key, format!("it holds more than {MAX_KEYS} keys")),
        Some(_) => wrong(key, "it must be an object: { … }"),
    }
}

fn optional(map: &Map<String, Value>, key: &str, prefix: &str) -> Result<Option<String>> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => wrong(&format!("{prefix}{key}"), "it must be text in quotes"),
    }
}

fn section<K, V>(root: &Map<String, Value>, key: &str, read: impl Fn(&str, &Value) -> Result<V>) -> Result<BTreeMap<K, V>>
where
    K: std::str::FromStr<Err = landfall_model::NameError> + Ord,
{
    let mut all = BTreeMap::new();
    for (name, value) in object(root, key)?.into_iter().flatten() {
        let place = format!("{key}.{name}");
        let name = name.parse().or_else(|error: landfall_model::NameError| wrong(key, error.to_string()))?;
        all.insert(name, read(&place, value)?);
    }
    Ok(all)
}

fn env_wish(place: &str, value: &Value) -> Result<EnvWish> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    };
    if let Some(text) = scalar(value) {
        return Ok(EnvWish { description: None, source: EnvSource::Value(SecretString::new(text)), required: true });
    }
    let Value::Object(map) = value else {
        return wrong(place, "it must be text or an object with description, value, required or generator");
    };
    let required = match map.get("required") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(truth)) => *truth,
        Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
        Some(_) => return wrong(&format!("{place}.required"), "it must be true or false"),
    };
    let source = match (map.get("generator"), map.get("value")) {
        (Some(Value::String(word)), _) if word == "secret" => EnvSource::Secret,
        (Some(_), _) => return wrong(&format!("{place}.generator"), "the only generator is \"secret\""),
        (None, None | Some(Value::Null)) => EnvSource::Owner,
        (None, Some(value)) => match scalar(value) {
            Some(text) => EnvSource::Value(SecretString::new(text)),
            None => return wrong(&format!("{place}.value"), "it must be text in quotes"),
        },
    };
    Ok(EnvWish { description: optional(map, "description", &format!("{place}."))?, source, required })
}

fn formation(place: &str, value: &Value) -> Result<FormationWish> {
    let Value::Object(map) = value else { return wrong(place, "it must be an object with quantity and size") };
    let quantity = number(map, "quantity", place, 0..=MAX_QUANTITY)?;
    let size = match optional(map, "size", &format!("{place}."))? {
        None => None,
        Some(text) => Some(text.parse::<DynoSize>().or_else(|error| wrong(&format!("{place}.size"), error.to_string()))?),
    };
    Ok(FormationWish { quantity, size })
}

fn number(map: &Map<String, Value>, key: &str, place: &str, range: std::ops::RangeInclusive<u32>) -> Result<Option<u32>> {
    let Some(value) = map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    let found = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| range.contains(n));
    found.map_or_else(
        || wrong(&format!("{place}.{key}"), format!("it must be a whole number from {} to {}", range.start(), range.end())),
        |n| Ok(Some(n)),
    )
}

fn checks(place: &str, value: &Value) -> Result<Vec<HealthCheck>> {
    let Value::Array(list) = value else {
        return wrong(place, "it must be a list of checks: [ { \"type\": \"startup\", \"path\": \"/\" } ]");
    };
    if list.len() > 10 {
        return wrong(place, "it holds more than 10 checks");
    }
    let mut checks = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let Value::Object(map) = value else { return wrong(&place, "it must be an object with type and path") };
        let dotted = format!("{place}.");
        if unknown_check(map).is_some() {
            continue;
        }
        let kind = match optional(map, "type", &dotted)?.as_deref() {
            Some("startup") => CheckKind::Startup,
            Some("readiness") | None => CheckKind::Readiness,
            Some("liveness") => CheckKind::Liveness,
            Some(_) => return wrong(&format!("{place}.type"), "it must be startup, readiness or liveness"),
        };
        let path = optional(map, "path", &dotted)?.unwrap_or_else(|| "/".to_owned());
        let good = path.starts_with('/') && path.len() <= 2000 && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !good {
            return wrong(&format!("{place}.path"), "it must start with / and hold no blanks or control characters");
        }
        checks.push(HealthCheck {
            kind,
            path,
            content: optional(map, "content", &dotted)?,
            attempts: number(map, "attempts", &place, 1..=100)?.unwrap_or(3),
            timeout_secs: number(map, "timeout", &place, 1..=300)?.unwrap_or(5),
            wait_secs: number(map, "wait", &place, 0..=300)?.unwrap_or(5),
            initial_delay_secs: number(map, "initialDelay", &place, 0..=3600)?.unwrap_or(0),
        });
    }
    Ok(checks)
}

/// What makes a check one that we do not make: asked in another way, it would say something else.
fn unknown_check(check: &Map<String, Value>) -> Option<&'static str> {
    let known_scheme = |scheme: &Value| scheme.as_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("http"));
    let given = |key: &&str| check.get(*key).is_some_and(|value| !value.is_null() && value.as_bool() != Some(false));
    let scheme = check.get("scheme").filter(|scheme| !known_scheme(scheme)).map(|_| "scheme");
    ["command", "uptime", "listening", "port", "httpHeaders"].iter().find(|key| given(key)).copied().or(scheme)
}

/// Checks that are left out, and why. (That a web dyno listens is always checked.)
fn health_warnings(root: &Map<String, Value>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (process_type, checks) in root.get("healthchecks").and_then(Value::as_object).into_iter().flatten() {
        if process_type != "web" {
            warnings
                .push(format!("app.json has health checks for {process_type}; only web dynos answer requests, so only they are checked."));
            continue;
        }
        for (index, check) in checks.as_array().into_iter().flatten().enumerate() {
            if let Some(key) = check.as_object().and_then(unknown_check).filter(|key| *key != "listening") {
                warnings.push(format!("app.json: healthchecks.web[{index}] is left out, because Landfall knows no checks with \"{key}\"."));
            }
        }
    }
    warnings
}

fn buildpacks(root: &Map<String, Value>) -> Result<Vec<String>> {
    let list = match root.get("buildpacks") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= 20 => list,
        Some(_) => return wrong("buildpacks", "it must be a list of at most 20: [ { \"url\": \"…\" } ]"),
    };
    let mut urls = Vec::new();
    for (index, value) in list.iter().enumerate() {
        match value.get("url").or(Some(value)) {
            Some(Value::String(url)) => urls.push(url.clone()),
            _ => return wrong(&format!("buildpacks[{index}]"), "it must have a url"),
        }
    }
    Ok(urls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_whole_file() {
        let text = r#"{
            // made for a demo
            "name": "Blog",
            "env": {
                "PLAIN": "x", "NUMBER": 3,
                "SECRET_KEY": { "description": "signs cookies", "generator": "secret" },
                "PORT": "5000", "OWN": { "required": true }, "MAYBE": { "required": false },
            },
            "formation": { "web": { "quantity": 2, "size": "standard-2x" }, "worker": { "quantity": 0 } },
            "healthchecks": {
                "web": [
                    { "type": "startup", "path": "/health", "attempts": 10 },
                    { "type": "liveness", "path": "/live", "content": "ok", "initialDelay": 30 },
                    { "type": "startup", "command": ["/bin/true"] }, { "type": "startup", "listening": true },
                ],
                "worker": [ { "type": "startup", "uptime": 10 } ],
            },
            "scripts": { "postdeploy": "python seed.py" },
            "buildpacks": [ { "url": "heroku/python" } ],
            "addons": [ "heroku-postgresql" ],
            "stack": "landfall-13",
        }"#;
        insta::assert_debug_snapshot!(parse(text).unwrap());
    }

    #[test]
    fn errors_name_the_place() {
        let table: Vec<String> = [
            "",
            "[]",
            "{\n \"a\" 1}",
            r#"{"env": []}"#,
            r#"{"env": {"A B": "x"}}"#,
            r#"{"env": {"A": {"generator": "uuid"}}}"#,
            r#"{"env": {"A": {"value": []}}}"#,
            r#"{"formation": {"web": {"quantity": -1}}}"#,
            r#"{"formation": {"web": {"quantity": 10000}}}"#,
            r#"{"formation": {"web": {"size": "huge"}}}"#,
            r#"{"healthchecks": {"web": [{"type": "x"}]}}"#,
            r#"{"healthchecks": {"web": [{"path": "health"}]}}"#,
            r#"{"scripts": {"postdeploy": 1}}"#,
            r#"{"buildpacks": [{}]}"#,
        ]
        .iter()
        .map(|text| parse(text).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(table.join("\n"));
        assert!(parse(&"[".repeat(5000)).unwrap_err().problem.contains("recursion"));
        assert!(parse(&" ".repeat(MAX_BYTES + 1)).unwrap_err().problem.contains("longer"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[{}\\[\\]\":,a-z0-9/* \n]{0,80}") {
            let _ = parse(&text);
        }
    }
}
