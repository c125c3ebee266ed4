//! What this machine can and cannot do, in words; and how exposed it is (trust rule S16).

mod exposure;
mod kernel;
mod tools;

use crate::config::AgentConfig;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Landfall works, with something less.
    Warn,
    /// Landfall cannot work.
    Fail,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was looked at: `kernel`.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found and what it means.
    pub meaning: String,
    /// What to do about it; empty when all is well.
    pub advice: String,
}

impl Check {
    fn ok(name: &'static str, meaning: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, meaning: meaning.into(), advice: String::new() }
    }

    fn warn(name: &'static str, meaning: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, meaning: meaning.into(), advice: advice.into() }
    }

    fn fail(name: &'static str, meaning: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, meaning: meaning.into(), advice: advice.into() }
    }
}

/// Looks at everything the agent needs, and at what apps could get at. Blocking, less than a second; what it tries it takes back.
pub fn doctor(config: &AgentConfig) -> Vec<Check> {
    let mut checks = vec![kernel::root(), kernel::version()];
    checks.extend([
        kernel::overlay(),
        kernel::namespaces(),
        kernel::seccomp(),
        kernel::cgroups(),
        kernel::resources(),
        kernel::bridges(),
        kernel::watches(),
    ]);
    checks.extend([
        tools::init(),
        tools::nft(),
        tools::mmdebstrap(),
        tools::git(),
        tools::disk(config),
        tools::images(config),
        tools::programs(config),
    ]);
    checks.extend([exposure::sandbox(config), exposure::lsm(), exposure::processor(), exposure::hardening(), exposure::swap()]);
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_complaint_has_advice_and_every_name_is_its_own() {
        let checks = doctor(&AgentConfig::default());
        let names: std::collections::BTreeSet<_> = checks.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), checks.len());
        for check in checks {
            assert!(!check.meaning.is_empty());
            assert_eq!(check.verdict == Verdict::Ok, check.advice.is_empty(), "{check:?}");
        }
    }
}
