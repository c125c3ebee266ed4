//! Names people type, each parsed once into a type.

use std::fmt;
use std::str::FromStr;

/// Why a name was refused. The text names the rule, so that the reader can fix the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} \"{given}\" {rule}")]
pub struct NameError {
    /// What kind of name it is ("app name", "config key", …).
    pub what: &'static str,
    /// What was given, shortened and with control characters escaped.
    pub given: String,
    /// The rule it breaks, as the end of a sentence.
    pub rule: &'static str,
}

impl NameError {
    fn new(what: &'static str, given: &str, rule: &'static str) -> Self {
        let given = given.chars().take(60).flat_map(char::escape_default).collect();
        Self { what, given, rule }
    }

    /// A good one.
    pub fn example(&self) -> &'static str {
        match self.what {
            "app name" => "my-blog",
            "config key" => "DATABASE_URL",
            "dyno name" => "web.1",
            "domain" => "www.example.com",
            _ => "web",
        }
    }
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_newtype! {
    /// An app's name: `^[a-z][a-z0-9-]{1,28}[a-z0-9]$` and not reserved. It is also a host name label and a git path.
    AppName
}

/// Names that would collide with the platform's own hosts or paths.
const RESERVED_APP_NAMES: &[&str] = &["api", "git", "dashboard", "www", "landfall", "localhost", "registry", "status", "admin", "router"];

impl FromStr for AppName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |rule| Err(NameError::new("app name", text, rule));
        let bytes = text.as_bytes();
        if bytes.len() < 3 || bytes.len() > 30 {
            return fail("must be 3 to 30 characters long");
        }
        if !bytes[0].is_ascii_lowercase() {
            return fail("must start with a lower-case letter");
        }
        if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') {
            return fail("may hold only lower-case letters, digits and dashes");
        }
        if bytes.ends_with(b"-") {
            return fail("must not end with a dash");
        }
        if RESERVED_APP_NAMES.contains(&text) {
            return fail("is reserved for the platform");
        }
        Ok(Self(text.to_owned()))
    }
}

text_newtype! {
    /// A config var's name: letters, digits and `_`, not starting with a digit. At most 256 characters.
    ConfigKey
}

impl FromStr for ConfigKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |rule| Err(NameError::new("config key", text, rule));
        if text.is_empty() || text.len() > 256 {
            return fail("must be 1 to 256 characters long");
        }
        if text.as_bytes()[0].is_ascii_digit() {
            return fail("must not start with a digit");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return fail("may hold only letters, digits and underscores");
        }
        if text == "PORT" {
            return fail("is set by the platform for each dyno and cannot be a config var");
        }
        Ok(Self(text.to_owned()))
    }
}

text_newtype! {
    /// A process type of a Procfile: `web`, `worker`, … 1 to 63 of `[A-Za-z0-9_-]`.
    ProcessType
}

impl ProcessType {
    /// The type the router sends requests to.
    pub fn web() -> Self {
        Self("web".to_owned())
    }

    /// The type that runs once per release, before anything switches.
    pub fn release() -> Self {
        Self("release".to_owned())
    }

    /// Whether this is `web`.
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }
}

impl FromStr for ProcessType {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |rule| Err(NameError::new("process type", text, rule));
        if text.is_empty() || text.len() > 63 {
            return fail("must be 1 to 63 characters long");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return fail("may hold only letters, digits, dashes and underscores");
        }
        Ok(Self(text.to_owned()))
    }
}

/// A dyno's name: process type and number, `web.1`, `run.4821`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DynoName {
    /// The process type.
    pub process_type: ProcessType,
    /// The number within the type, from 1.
    pub index: u32,
}

impl DynoName {
    /// `web` + `1` → `web.1`.
    pub fn new(process_type: ProcessType, index: u32) -> Self {
        Self { process_type, index }
    }
}

impl fmt::Display for DynoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process_type, self.index)
    }
}

impl From<DynoName> for String {
    fn from(name: DynoName) -> String {
        name.to_string()
    }
}

impl TryFrom<String> for DynoName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl FromStr for DynoName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = || NameError::new("dyno name", text, "must be a process type, a dot and a number, as in web.1");
        let (process_type, index) = text.rsplit_once('.').ok_or_else(fail)?;
        if index.starts_with('0') || index.starts_with('+') {
            return Err(fail());
        }
        Ok(Self { process_type: process_type.parse().map_err(|_| fail())?, index: index.parse().map_err(|_| fail())? })
    }
}

text_newtype! {
    /// A DNS host name in its ASCII form, lower case, at most 253 characters; the first label may be `*`.
    Hostname
}

impl FromStr for Hostname {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fail = |rule| Err(NameError::new("domain", text, rule));
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if lower.is_empty() || lower.len() > 253 {
            return fail("must be 1 to 253 characters long");
        }
        if !lower.is_ascii() {
            return fail("must be in its ASCII form (punycode, xn--…)");
        }
        let labels: Vec<&str> = lower.split('.').collect();
        if labels.len() < 2 {
            return fail("must have at least two parts, as in www.example.com");
        }
        for (position, label) in labels.iter().enumerate() {
            if position == 0 && *label == "*" && labels.len() > 2 {
                continue;
            }
            let good = !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !good {
                return fail("has a part that is not a DNS label");
            }
        }
        if labels.last().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
            return fail("must be a name, not an IP address");
        }
        Ok(Self(lower))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names() {
        for good in ["blog", "a-b", "abc", "a23456789012345678901234567890"] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in ["", "ab", "Blog", "1blog", "blog-", "../x", "bl og", "a234567890123456789012345678901", "api", "blög"] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn config_keys_refuse_what_no_process_could_read() {
        for good in ["A", "_A1", "database_url"] {
            assert!(good.parse::<ConfigKey>().is_ok(), "{good}");
        }
        for bad in ["", "a=b", "PORT", "A B", "1A", "Ä", "A-B"] {
            assert!(bad.parse::<ConfigKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn dyno_names_round_trip() {
        let name: DynoName = "web.12".parse().unwrap();
        assert_eq!((name.process_type.as_str(), name.index, name.to_string().as_str()), ("web", 12, "web.12"));
        for bad in ["web", "web.", "web.01", ".1", "web.x", "web.+1"] {
            assert!(bad.parse::<DynoName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hostnames_are_normalised() {
        assert_eq!("WWW.Example.COM.".parse::<Hostname>().unwrap().as_str(), "www.example.com");
        assert!("*.example.com".parse::<Hostname>().is_ok());
        for bad in ["example", "*.com", "a..b", "-a.b", "10.0.0.1", "a_b.c", "", "exämple.com"] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
    }
}
