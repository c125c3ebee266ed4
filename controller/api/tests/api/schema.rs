//! The published Platform API schema, and a validator for the part of JSON Schema draft 4 that it uses.
//!
//! The schema names few required fields, but clients rely on all of them: here every property of a resource must be present.

use std::sync::LazyLock;

use serde_json::Value;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("platform-api-schema.json")).unwrap());

/// What cannot be as published: addresses are ours, not Heroku's; the schema calls host names URIs.
const OURS: &[&str] = &["app/git_url", "app/web_url", "domain/hostname"];

/// What is answered although nobody published it: Landfall's own, and what the schema has lost while clients still ask for it.
const UNPUBLISHED: &[(&str, &str)] = &[
    ("POST", "/account/keys"),
    ("DELETE", "/account/keys/{key}"),
    ("DELETE", "/oauth/sessions/{session}"),
    ("GET", "/audit"),
    ("GET", "/health"),
    ("GET", "/apps/{app}/stats"),
    ("POST", "/apps/{app}/dynos/{dyno}/actions/exec"),
    ("PUT", "/sources/{ticket}"),
    ("GET", "/sources/{ticket}"),
    ("GET", "/streams/builds/{ticket}"),
    ("GET", "/streams/releases/{ticket}"),
    ("GET", "/logs/{ticket}"),
    ("GET", "/attach/{secret}"),
];

/// What the schema says an answer is: the target of the link with this method and path. `None` if there is no such link.
fn target(method: &str, path: &str) -> Option<&'static Value> {
    let links = SCHEMA["definitions"].as_object().into_iter().flatten().filter_map(|(_, definition)| definition["links"].as_array());
    let links = links.flatten().filter(|link| link["method"] == method && fits(link["href"].as_str().unwrap_or_default(), path));
    // The one with the fewest variables says most.
    links.min_by_key(|link| link["href"].as_str().unwrap_or_default().matches("{(").count()).map(|link| &link["targetSchema"])
}

/// Is this a path of that pattern, whose variables are in braces?
fn fits(pattern: &str, path: &str) -> bool {
    // As the API does: two slashes are one.
    let parts = |path| str::split(path, '/').filter(|part| !part.is_empty()).collect::<Vec<&str>>();
    let (pattern, path) = (parts(pattern), parts(path.split('?').next().unwrap_or_default()));
    pattern.len() == path.len() && pattern.iter().zip(path).all(|(wanted, part)| wanted.starts_with('{') || *wanted == part)
}

/// Panics, with every difference, unless this is what the schema says is answered there.
#[track_caller]
pub(crate) fn check_answer(method: &str, path: &str, answer: &Value) {
    let Some(target) = target(method, path) else {
        let known = UNPUBLISHED.iter().any(|(known, pattern)| *known == method && fits(pattern, path));
        assert!(known, "{method} {path} is not in the schema");
        return;
    };
    let one = target["items"]["$ref"].as_str().or(target["$ref"].as_str()).and_then(|target| target.strip_prefix("#/definitions/"));
    if let Some(resource) = one.filter(|resource| !resource.contains('/')) {
        assert_eq!(answer.is_array(), target["items"].is_object(), "{method} {path}: {answer:#}");
        return check(resource, answer);
    }
    let mut problems = Vec::new();
    validate(target, answer, path, &mut problems);
    assert!(problems.is_empty(), "{method} {path} differs from the schema:\n{}\n{answer:#}", problems.join("\n"));
}

/// Panics, with every difference, unless `value` is a `resource` (or an array of them).
#[track_caller]
pub(crate) fn check(resource: &str, value: &Value) {
    let mut problems = Vec::new();
    let definition = &SCHEMA["definitions"][resource];
    assert!(definition.is_object(), "the schema has no {resource}");
    match value {
        Value::Array(items) => items.iter().for_each(|item| check_one(resource, definition, item, &mut problems)),
        one => check_one(resource, definition, one, &mut problems),
    }
    assert!(problems.is_empty(), "{resource} differs from the schema:\n{}\n{value:#}", problems.join("\n"));
}

fn check_one(resource: &str, definition: &Value, value: &Value, problems: &mut Vec<String>) {
    for name in definition["properties"].as_object().into_iter().flat_map(|all| all.keys()) {
        if value.get(name).is_none() {
            problems.push(format!("{resource}/{name}: missing"));
        }
    }
    validate(definition, value, resource, problems);
}

fn resolve(mut schema: &'static Value) -> &'static Value {
    while let Some(target) = schema["$ref"].as_str() {
        schema = SCHEMA.pointer(target.trim_start_matches('#')).unwrap_or_else(|| panic!("no {target}"));
    }
    schema
}

fn validate(schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    // Everything in the schema lives as long as the program; a reference is looked up there.
    let schema = schema["$ref"].as_str().map_or(schema, |target| resolve(SCHEMA.pointer(target.trim_start_matches('#')).unwrap()));
    if OURS.contains(&at) {
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|wanted| is(wanted, value)) {
        problems.push(format!("{at}: {value} is not {types:?}"));
        return;
    }
    if value.is_null() {
        return;
    }
    if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
        problems.push(format!("{at}: {value} is not one of {allowed:?}"));
    }
    if let Some(text) = value.as_str() {
        let good = match schema["format"].as_str() {
            Some("uuid") => text.parse::<uuid::Uuid>().is_ok(),
            Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
            Some("email") => text.contains('@'),
            Some("uri") => text.contains(':'),
            _ => true,
        };
        if !good {
            problems.push(format!("{at}: {value} is not a {}", schema["format"]));
        }
        if schema["pattern"] == "^[a-z][a-z0-9-]{1,28}[a-z0-9]$" && text.parse::<landfall_model::AppName>().is_err() {
            problems.push(format!("{at}: {value} is not an app name"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            problems.push(format!("{at}/{name}: required and missing"));
        }
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            validate(inner, value, &format!("{at}/{name}"), problems);
        }
    }
    let patterns: Vec<&Value> = schema["patternProperties"].as_object().into_iter().flat_map(|all| all.values()).collect();
    if let [inner] = patterns[..] {
        for (name, value) in value.as_object().into_iter().flatten() {
            validate(inner, value, &format!("{at}/{name}"), problems);
        }
    } else if schema["additionalProperties"] == false {
        for name in
            value.as_object().into_iter().flat_map(|all| all.keys()).filter(|name| schema["properties"].get(name.as_str()).is_none())
        {
            problems.push(format!("{at}/{name}: not allowed"));
        }
    }
    if schema["items"].is_object() {
        for item in value.as_array().into_iter().flatten() {
            validate(&schema["items"], item, &format!("{at}[]"), problems);
        }
    }
}

fn is(wanted: &str, value: &Value) -> bool {
    match wanted {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

#[test]
fn the_validator_finds_differences() {
    let found = std::panic::catch_unwind(|| check("region", &serde_json::json!({ "id": "x", "name": 3 }))).unwrap_err();
    let text = found.downcast_ref::<String>().unwrap();
    for expected in ["region/id: \"x\" is not a \"uuid\"", "region/name: 3 is not", "region/country: missing"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn each_route_is_published_or_known_not_to_be() {
    for route in landfall_api::routes::table() {
        let known = UNPUBLISHED.contains(&(route.method.as_str(), route.path));
        assert_ne!(target(route.method.as_str(), route.path).is_some(), known, "{} {}", route.method, route.path);
    }
}
