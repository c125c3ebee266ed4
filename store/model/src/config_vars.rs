//! Config vars: the half of a release that is not the build.

use std::collections::BTreeMap;
use std::fmt;

use crate::ConfigKey;

/// A value that is never printed by accident: `Debug` hides it and there is no `Display`.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SecretString(String);

impl SecretString {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself. Call this only where the value leaves for its owner or for a dyno.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// All config vars of one release, sorted by key.
#[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ConfigVars(pub BTreeMap<ConfigKey, SecretString>);

impl ConfigVars {
    /// Sets (`Some`) and unsets (`None`) keys, as `PATCH /apps/{app}/config-vars` does. Unsetting an absent key is no change.
    pub fn patched(&self, changes: &BTreeMap<ConfigKey, Option<SecretString>>) -> Self {
        let mut next = self.clone();
        for (key, value) in changes {
            match value {
                Some(value) => next.0.insert(key.clone(), value.clone()),
                None => next.0.remove(key),
            };
        }
        next
    }

    /// Keys and exposed values, in key order.
    pub fn iter_exposed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.expose()))
    }
}

impl fmt::Debug for ConfigVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys().map(ConfigKey::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_keys_only() {
        let vars = ConfigVars([("TOKEN".parse().unwrap(), SecretString::new("s3cret"))].into());
        assert_eq!(format!("{vars:?}"), r#"{"TOKEN"}"#);
        assert!(!format!("{:?}", vars.0).contains("s3cret"));
    }
}
