//! Who installs: npm, pnpm, Yarn 1 or a newer Yarn, by lockfile and `packageManager`; and the layer with its program.

use std::path::{Path, PathBuf};

use semver::Version;

use super::package::Package;
use super::registry::Registry;
use crate::contract::{Build, Problem, Types};

/// Lockfiles, and whose they are. Of npm's two the first wins, as npm has it.
const LOCKFILES: &[(&str, &str)] =
    &[("npm-shrinkwrap.json", "npm"), ("package-lock.json", "npm"), ("yarn.lock", "yarn"), ("pnpm-lock.yaml", "pnpm")];
/// The npm for each Node.js: the newest line that supports it. From the top, the first that is not newer than the Node.js.
const NPM: &[((u64, u64), &str)] = &[
    ((24, 0), "11.21.2"),
    ((20, 5), "10.9.9"),
    ((19, 0), "9.9.4"),
    ((18, 17), "10.9.9"),
    ((18, 0), "9.9.4"),
    ((17, 0), "8.19.4"),
    ((16, 13), "9.9.4"),
    ((16, 0), "8.19.4"),
    ((15, 0), "7.24.2"),
    ((14, 17), "9.9.4"),
    ((14, 15), "8.19.4"),
    ((13, 0), "7.24.2"),
    ((12, 13), "8.19.4"),
    ((10, 0), "7.24.2"),
    ((6, 2), "6.14.18"),
];
const YARN: &str = "1.22.22";
const BERRY: &str = "4.18.1";
/// By the start of `lockfileVersion` in pnpm-lock.yaml.
const PNPM: &[(&str, &str)] = &[("9", "10.34.9"), ("6", "8.15.9"), ("5", "7.33.7")];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Npm,
    Pnpm,
    Yarn,
    Berry,
}

/// The chosen package manager.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    pub kind: Kind,
    pub version: Version,
    pub lockfile: Option<&'static str>,
}

impl Manager {
    /// The one the app's lockfile and package.json name.
    pub(super) fn of(build: &Build, package: &Package, node: &Version) -> Result<Self, Problem> {
        let found: Vec<_> = LOCKFILES.iter().filter(|(file, _)| build.app.join(file).is_file()).collect();
        if found.iter().any(|(_, m)| *m != found[0].1) {
            let names: Vec<_> = found.iter().map(|(file, _)| *file).collect();
            return Err(Problem::new(format!(
                "Several package managers are in use: {}.\n\nOnly one of these files can decide what is installed.\n\
                 Remove the others (`git rm FILE`), commit and push again.",
                names.join(", ")
            )));
        }
        let named = package.manager();
        let lockfile = found.first().map(|(file, _)| *file);
        let by_lockfile = found.first().map(|(_, name)| *name);
        if let (Some((name, _)), Some(file), Some(other)) = (named, lockfile, by_lockfile)
            && name != other
        {
            return Err(Problem::new(format!(
                "package.json and the lockfile do not agree: packageManager names {name}, but {file} is {other}'s.\n\n\
                 Remove {file} or change packageManager, commit and push again."
            )));
        }
        let version = named.map(|(name, v)| exact(name, v)).transpose()?;
        let name = by_lockfile.or(named.map(|(name, _)| name)).unwrap_or("npm");
        let (kind, version) = match name {
            "npm" => (Kind::Npm, version.map_or_else(|| npm_for(node), Ok)?),
            "pnpm" => (Kind::Pnpm, version.map_or_else(|| pnpm_for(build), Ok)?),
            "yarn" => {
                let berry = build.app_text("yarn.lock")?.is_some_and(|t| t.contains("\n__metadata:"));
                let version = version.map_or_else(|| constant(if berry { BERRY } else { YARN }), Ok)?;
                (if version.major >= 2 { Kind::Berry } else { Kind::Yarn }, version)
            }
            other => {
                return Err(Problem::new(format!(
                    "packageManager in package.json names {other}, which this buildpack does not have.\n\nIt has npm, yarn and pnpm."
                )));
            }
        };
        Ok(Self { kind, version, lockfile })
    }

    /// What a person calls it.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Npm => "npm",
            Kind::Pnpm => "pnpm",
            Kind::Yarn | Kind::Berry => "yarn",
        }
    }

    /// The package with the program.
    fn package(&self) -> &'static str {
        if self.kind == Kind::Berry { "@yarnpkg/cli-dist" } else { self.name() }
    }

    /// Makes its layer, with `bin/<command>`; gives the script that Node.js runs. It is in the image, as many a Procfile says `npm start`.
    pub(super) fn provide(&self, build: &mut Build, registry: &Registry) -> Result<PathBuf, Problem> {
        let types = Types { build: true, launch: true, cache: true };
        let (name, key) = (self.name(), format!("{} {} 1", self.package(), self.version));
        let layer = if build.layer_is(name, &key) {
            build.layer_set(name, types, &key)?
        } else {
            let dist = registry.version(self.package(), &self.version)?;
            build.layer_clear(name)?;
            let layer = build.layer_set(name, types, "")?;
            let place = layer.join("package");
            std::fs::create_dir_all(&place).map_err(|e| Problem::io("create", &place, e))?;
            registry.unpack(&format!("{} {}", self.package(), self.version), &dist, &place)?;
            link_commands(&layer)?;
            build.layer_set(name, types, &key)?
        };
        Ok(layer.join("bin").join(name))
    }
}

/// npm by itself, for apps of the other managers: their Procfiles may say `npm start` too.
pub(super) fn npm(node: &Version) -> Result<Manager, Problem> {
    Ok(Manager { kind: Kind::Npm, version: npm_for(node)?, lockfile: None })
}

fn link_commands(layer: &Path) -> Result<(), Problem> {
    use std::os::unix::fs::PermissionsExt;
    let file = layer.join("package/package.json");
    let text = std::fs::read_to_string(&file).map_err(|e| Problem::io("read", &file, e))?;
    let bin = layer.join("bin");
    std::fs::create_dir_all(&bin).map_err(|e| Problem::io("create", &bin, e))?;
    for (name, path) in Package::parse(&text)?.commands() {
        let target = Path::new("../package").join(path.trim_start_matches("./"));
        let link = bin.join(name);
        std::os::unix::fs::symlink(&target, &link).map_err(|e| Problem::io("link", &link, e))?;
        std::fs::set_permissions(&link, std::fs::Permissions::from_mode(0o755)).map_err(|e| Problem::io("mark as a program", &link, e))?;
    }
    Ok(())
}

fn npm_for(node: &Version) -> Result<Version, Problem> {
    match NPM.iter().find(|(from, _)| (node.major, node.minor) >= *from) {
        Some((_, version)) => constant(version),
        None => Err(Problem::new(format!(
            "Node.js {node} is too old: no npm here works with it.\n\nChoose a newer one (engines.node in package.json), commit and push again."
        ))),
    }
}

fn pnpm_for(build: &Build) -> Result<Version, Problem> {
    let text = build.app_text("pnpm-lock.yaml")?.unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("lockfileVersion:"));
    let format = line.unwrap_or("9").trim().trim_matches(['\'', '"']).to_owned();
    match PNPM.iter().find(|(start, _)| format.starts_with(start)) {
        Some((_, version)) => constant(version),
        None => Err(Problem::new(format!(
            "pnpm-lock.yaml has lockfileVersion {format}, which this buildpack knows no pnpm for.\n\n\
             Name one in package.json, such as \"packageManager\": \"pnpm@{}\", commit and push again.",
            PNPM[0].1
        ))),
    }
}

fn exact(name: &str, version: &str) -> Result<Version, Problem> {
    Version::parse(version).map_err(|_| {
        Problem::new(format!(
            "packageManager in package.json is not one exact version: \"{name}@{version}\"\n\nWrite it as \"{name}@1.2.3\", commit and push again."
        ))
    })
}

fn constant(version: &str) -> Result<Version, Problem> {
    Version::parse(version).map_err(|e| Problem::new(format!("{version} is not a version: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;

    fn chosen(files: &[(&str, &str)], node: Version) -> Result<Manager, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let build = Build { app: dir.path().into(), layers: dir.path().join("layers"), out: Output::stdout() };
        let package = Package::of(&build).map_err(|p| p.to_string())?;
        Manager::of(&build, &package, &node).map_err(|p| p.to_string())
    }

    #[test]
    fn the_lockfile_and_package_json_choose() {
        let node = Version::new(22, 1, 0);
        for (files, want) in [
            (&[("package.json", "{}"), ("package-lock.json", "{}")][..], (Kind::Npm, "10.9.9")),
            (&[("package.json", "{}"), ("yarn.lock", "# yarn lockfile v1\n")], (Kind::Yarn, YARN)),
            (&[("package.json", "{}"), ("yarn.lock", "#\n\n__metadata:\n  version: 8\n")], (Kind::Berry, BERRY)),
            (&[("package.json", "{}"), ("pnpm-lock.yaml", "lockfileVersion: '6.0'\n")], (Kind::Pnpm, "8.15.9")),
            (&[("package.json", r#"{"packageManager":"yarn@3.6.1+sha512.aa"}"#)], (Kind::Berry, "3.6.1")),
            (&[("package.json", "{}")], (Kind::Npm, "10.9.9")),
        ] {
            let manager = chosen(files, node.clone()).unwrap();
            assert_eq!((manager.kind, manager.version.to_string().as_str()), want, "{files:?}");
        }
    }

    #[test]
    fn contradictions_are_named() {
        let said = |files: &[(&str, &str)], node| chosen(files, node).unwrap_err();
        insta::assert_snapshot!(
            [
                said(&[("package.json", "{}"), ("package-lock.json", "{}"), ("yarn.lock", "")], Version::new(22, 0, 0)),
                said(&[("package.json", r#"{"packageManager":"pnpm@9.1.0"}"#), ("yarn.lock", "")], Version::new(22, 0, 0)),
                said(&[("package.json", r#"{"packageManager":"npm@^10"}"#)], Version::new(22, 0, 0)),
                said(&[("package.json", r#"{"packageManager":"bun@1.2.3"}"#)], Version::new(22, 0, 0)),
                said(&[("package.json", "{}")], Version::new(4, 0, 0)),
            ]
            .join("\n---\n")
        );
    }
}
