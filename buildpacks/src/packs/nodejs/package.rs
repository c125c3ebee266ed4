//! What package.json says.

use serde_json::Value;

use crate::contract::{Build, Problem};

/// Everything in it that decides which packages are installed.
const INSTALL_PARTS: &[&str] = &[
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "dependenciesMeta",
    "bundleDependencies",
    "bundledDependencies",
    "overrides",
    "resolutions",
    "pnpm",
    "packageManager",
    "allowScripts",
    "engines",
];

/// A package.json.
pub(super) struct Package(Value);

impl Package {
    /// The app's.
    pub(super) fn of(build: &Build) -> Result<Self, Problem> {
        let text = build.app_text("package.json")?.unwrap_or_default();
        Self::parse(&text)
    }

    /// A package.json by its text.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(value @ Value::Object(_)) => Ok(Self(value)),
            Ok(_) => Err(Problem::new("package.json is not a JSON object.\n\nRun `npm init` to make one, commit and push again.")),
            Err(e) => Err(Problem::new(format!("package.json is not valid JSON: {e}\n\nFix it, commit and push again."))),
        }
    }

    /// `engines.<name>`.
    pub(super) fn engine(&self, name: &str) -> Option<&str> {
        self.0.get("engines")?.get(name)?.as_str()
    }

    /// Name and version in `packageManager`.
    pub(super) fn manager(&self) -> Option<(&str, &str)> {
        let (name, version) = self.0.get("packageManager")?.as_str()?.split_once('@')?;
        Some((name, version.split('+').next().unwrap_or(version)))
    }

    /// The command of a script.
    pub(super) fn script(&self, name: &str) -> Option<&str> {
        self.0.get("scripts")?.get(name)?.as_str().filter(|s| !s.trim().is_empty())
    }

    /// The path of a command this package brings, and each command's name.
    pub(super) fn commands(&self) -> Vec<(String, String)> {
        let name = self.0.get("name").and_then(Value::as_str).unwrap_or_default();
        match self.0.get("bin") {
            Some(Value::String(path)) => vec![(name.rsplit('/').next().unwrap_or(name).to_owned(), path.clone())],
            Some(Value::Object(all)) => all.iter().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect(),
            _ => Vec::new(),
        }
    }

    /// The parts that decide what is installed, as text. Keys are sorted, so their order does not matter.
    pub(super) fn install_parts(&self) -> String {
        INSTALL_PARTS.iter().filter_map(|p| Some(format!("{p}={}\n", self.0.get(p)?))).collect()
    }

    /// Why the installed packages may depend on any file of the app, in which case they are not reused.
    pub(super) fn depends_on_app(&self) -> Option<String> {
        if self.0.get("workspaces").is_some() {
            return Some("package.json has workspaces".into());
        }
        if let Some(script) = ["preinstall", "install", "postinstall", "prepare"].iter().find(|s| self.script(s).is_some()) {
            return Some(format!("package.json has a {script} script"));
        }
        let local = ["file:", "link:", "portal:", "workspace:", "./", "../", "/", "~/"];
        let lists = ["dependencies", "devDependencies", "optionalDependencies", "resolutions", "overrides"];
        let mut packages = lists.iter().filter_map(|l| self.0.get(l)?.as_object()).flatten();
        let (name, _) = packages.find(|(_, v)| v.as_str().is_some_and(|v| local.iter().any(|l| v.starts_with(l))))?;
        Some(format!("{name} is a directory or file of the app"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_decides_the_install_is_compared() {
        let parts = |t: &str| Package::parse(t).unwrap().install_parts();
        let one = parts(r#"{"name":"a","dependencies":{"x":"1","y":"2"},"scripts":{"start":"a"}}"#);
        assert_eq!(one, parts(r#"{"dependencies":{"y":"2","x":"1"},"version":"2"}"#));
        assert_ne!(one, parts(r#"{"dependencies":{"y":"2"}}"#));
    }

    #[test]
    fn local_code_is_seen() {
        let why = |t: &str| Package::parse(t).unwrap().depends_on_app().is_some();
        for text in [r#"{"workspaces":["a"]}"#, r#"{"scripts":{"postinstall":"make"}}"#, r#"{"dependencies":{"a":"file:./a"}}"#] {
            assert!(why(text), "{text}");
        }
        assert!(!why(r#"{"scripts":{"build":"tsc"},"dependencies":{"a":"^1"}}"#));
    }

    #[test]
    fn broken_files_are_named() {
        assert!(Package::parse("[]").is_err());
        let said = Package::parse("{,}").err().unwrap().to_string();
        assert!(said.starts_with("package.json is not valid JSON:"), "{said}");
    }
}
