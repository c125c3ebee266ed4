//! Who speaks: the `app[web.1]` of a line.

/// The source and name every line of one writer carries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogIdentity {
    source: String,
    name: String,
}

/// Not usable as `source[name]`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log {part} must be 1 to 80 of a-z, A-Z, 0-9, dot, dash and underscore")]
pub struct BadIdentity {
    /// `source` or `name`.
    pub part: &'static str,
}

impl LogIdentity {
    /// `app`, `heroku` or `landfall`; and `web.1`, `router`, `api`, … Each 1 to 80 of `[A-Za-z0-9._-]`.
    pub fn new(source: &str, name: &str) -> Result<Self, BadIdentity> {
        for (part, text) in [("source", source), ("name", name)] {
            if text.is_empty() || text.len() > 80 || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
                return Err(BadIdentity { part });
            }
        }
        Ok(Self { source: source.to_owned(), name: name.to_owned() })
    }

    /// `app`, `heroku` or `landfall`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// `web.1`, `router`, …
    pub fn name(&self) -> &str {
        &self.name
    }
}
