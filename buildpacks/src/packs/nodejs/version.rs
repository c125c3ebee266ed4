//! Which Node.js the app asks for, and the layer with it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use semver::Version;

use super::package::Package;
use super::range::Range;
use super::registry::{Dist, Registry};
use crate::contract::{Build, Problem, Types};

/// For apps that do not say: the long-term support line.
const DEFAULT_MAJOR: u64 = 24;
/// Raise when the content of the layer changes by our own doing.
const LAYER_SCHEMA: &str = "1";
/// Names of long-term support lines in .nvmrc.
const LINES: &[(&str, u64)] = &[
    ("argon", 4),
    ("boron", 6),
    ("carbon", 8),
    ("dubnium", 10),
    ("erbium", 12),
    ("fermium", 14),
    ("gallium", 16),
    ("hydrogen", 18),
    ("iron", 20),
    ("jod", 22),
    ("krypton", 24),
];

/// What is wanted, and where that is written.
struct Wanted {
    range: Range,
    text: String,
    file: &'static str,
}

/// Makes the layer `node` hold the version the app wants; gives the version and the layer.
pub(super) fn provide(build: &mut Build, package: &Package, registry: &Registry) -> Result<(Version, PathBuf), Problem> {
    let wanted = wanted(build, package)?;
    let cached = cached(build);
    let types = Types { build: true, launch: true, cache: true };
    let why = if wanted.file.is_empty() { "no version asked for".to_owned() } else { format!("{} asks for {}", wanted.file, wanted.text) };
    let name = format!("node-linux-{}", arch()?);
    let (version, dist) = match cached.filter(|c| wanted.range.exact() == Some(c)) {
        Some(version) => (version, None),
        None => choose(build, &wanted, &name, registry)?,
    };
    build.out.step("Installing Node.js");
    build.out.detail(format!("Node.js {version} ({why})"));
    let key = key(build, &version)?;
    if build.layer_is("node", &key) {
        build.out.detail("Using cached Node.js");
        return Ok((version, build.layer_set("node", types, &key)?));
    }
    let dist = match dist {
        Some(dist) => dist,
        None => registry.version(&name, &version)?,
    };
    build.layer_clear("node")?;
    let layer = build.layer_set("node", types, "")?;
    registry.unpack(&format!("Node.js {version}"), &dist, &layer)?;
    check(&layer, &version)?;
    environment(build, &layer)?;
    let layer = build.layer_set("node", types, &key)?;
    Ok((version, layer))
}

/// The newest version that fits, by the registry; the cached one if the registry does not answer.
fn choose(build: &mut Build, wanted: &Wanted, name: &str, registry: &Registry) -> Result<(Version, Option<Dist>), Problem> {
    let mut all = match registry.versions(name) {
        Ok(all) => all,
        Err(problem) => match cached(build).filter(|c| wanted.range.matches(c)) {
            Some(version) => {
                build.out.warning(format!("{problem}\nUsing Node.js {version} of the last build, which fits too."));
                return Ok((version, None));
            }
            None => return Err(problem),
        },
    };
    let best = all.keys().rev().find(|v| wanted.range.matches(v)).cloned();
    match best {
        Some(version) => {
            let dist = all.remove(&version);
            Ok((version, dist))
        }
        None => Err(Problem::new(none_fits(wanted, &all))),
    }
}

fn none_fits(wanted: &Wanted, all: &BTreeMap<Version, Dist>) -> String {
    let about = wanted.range.about();
    let stable: Vec<&Version> = all.keys().filter(|v| v.pre.is_empty()).collect();
    let mut near: Vec<&Version> = Vec::new();
    near.extend(stable.iter().rev().find(|v| ***v < about));
    near.extend(stable.iter().find(|v| ***v > about));
    near.extend(stable.iter().rev().find(|v| v.major == about.major));
    near.extend(stable.last());
    near.sort();
    near.dedup();
    let near: Vec<_> = near.iter().map(ToString::to_string).collect();
    format!(
        "No Node.js version fits {:?}.\n\n{} asks for {}. The nearest versions that exist: {}.\n\
         Change {} to one of them or to a range such as \"{DEFAULT_MAJOR}.x\", commit and push again.",
        wanted.text,
        wanted.file,
        wanted.text,
        near.join(", "),
        wanted.file
    )
}

fn wanted(build: &Build, package: &Package) -> Result<Wanted, Problem> {
    if let Some(text) = package.engine("node") {
        return read(text, "engines.node in package.json");
    }
    for file in [".nvmrc", ".node-version"] {
        if let Some(text) = build.app_text(file)? {
            let mut lines = text.lines().map(|l| l.split('#').next().unwrap_or_default().trim()).filter(|l| !l.is_empty());
            return read(lines.next().unwrap_or_default(), file);
        }
    }
    let text = format!("{DEFAULT_MAJOR}.x");
    let mut wanted = read(&text, "")?;
    wanted.file = "";
    Ok(wanted)
}

fn read(text: &str, file: &'static str) -> Result<Wanted, Problem> {
    let line = text.trim().to_ascii_lowercase();
    let meant = match line.as_str() {
        "latest" | "node" | "stable" | "current" => "*".to_owned(),
        "lts" | "lts/*" | "--lts" => DEFAULT_MAJOR.to_string(),
        name => match name.strip_prefix("lts/").map(|n| LINES.iter().find(|(l, _)| *l == n)) {
            Some(Some((_, major))) => major.to_string(),
            _ => line.clone(),
        },
    };
    let range = Range::parse(&meant).filter(|_| !(file.starts_with('.') && meant.is_empty()));
    range.map(|range| Wanted { range, text: text.trim().to_owned(), file }).ok_or_else(|| {
        Problem::new(format!(
            "{file} does not hold a Node.js version: {text:?}\n\nWrite a version or range such as {DEFAULT_MAJOR}.x, ^22.12.0 or >=20 <25, commit and push again."
        ))
    })
}

/// Version of the restored layer.
fn cached(build: &Build) -> Option<Version> {
    let key = build.layer_key("node")?;
    let version = Version::parse(key.split(' ').nth(1)?).ok()?;
    build.layers.join("node/bin/node").is_file().then_some(version)
}

fn key(build: &Build, version: &Version) -> Result<String, Problem> {
    Ok(format!("node {version} {} {LAYER_SCHEMA} {}", arch()?, build.app.display()))
}

fn arch() -> Result<&'static str, Problem> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("x64"),
        "aarch64" => Ok("arm64"),
        other => Err(Problem::new(format!("There is no Node.js for this machine's processor ({other})."))),
    }
}

/// Old archives hold another archive; and a binary may want a newer C library than the stack has.
fn check(layer: &Path, version: &Version) -> Result<(), Problem> {
    let node = layer.join("bin/node");
    if !node.is_file() {
        return Err(Problem::new(format!(
            "Node.js {version} is too old for this buildpack: its archive has another layout.\n\nChoose {DEFAULT_MAJOR}.x, or at least 6.x, in engines.node of package.json."
        )));
    }
    let ran = Command::new(&node).arg("--version").output().map_err(|e| Problem::io("run", &node, e))?;
    if String::from_utf8_lossy(&ran.stdout).trim() == format!("v{version}") {
        return Ok(());
    }
    Err(Problem::new(format!(
        "Node.js {version} does not run on this stack.\n\n{}\n\nChoose another version, or a newer stack (`landfall stacks` lists them).",
        String::from_utf8_lossy(&ran.stderr).trim_end()
    )))
}

/// What the dyno's processes see. Written once with the layer.
fn environment(build: &Build, layer: &Path) -> Result<(), Problem> {
    let _ = std::fs::remove_dir_all(layer.join("share")); // Manual pages.
    let bin = build.app.join("node_modules/.bin").display().to_string();
    let dir = layer.join("env.launch");
    std::fs::create_dir_all(&dir).map_err(|e| Problem::io("create", &dir, e))?;
    let files =
        [("NODE_ENV.default", "production"), ("NPM_CONFIG_UPDATE_NOTIFIER.default", "false"), ("PATH.delim", ":"), ("PATH.prepend", &bin)];
    for (name, value) in files {
        std::fs::write(dir.join(name), value).map_err(|e| Problem::io("write", &dir.join(name), e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_versions_are_near() {
        let dist: Dist = serde_json::from_str(r#"{"tarball":""}"#).unwrap();
        let all = ["18.20.7", "18.20.8", "20.0.0", "22.23.3", "24.0.0-rc.1", "26.10.0"];
        let all = all.iter().map(|v| (Version::parse(v).unwrap(), dist.clone())).collect();
        let said = |text: &str, file| none_fits(&read(text, file).unwrap(), &all);
        insta::assert_snapshot!(format!("{}\n---\n{}", said("22.99.x", "engines.node in package.json"), said("19.1.0", ".nvmrc")));
    }

    #[test]
    fn reads_what_version_files_hold() {
        for (text, inside) in [("lts/*", "24.1.0"), ("lts/Iron", "20.1.0"), ("v22.1.0", "22.1.0"), ("node", "26.0.0"), ("22", "22.9.0")] {
            assert!(read(text, ".nvmrc").unwrap().range.matches(&Version::parse(inside).unwrap()), "{text}");
        }
        for wrong in ["", "lts/none", "system"] {
            assert!(read(wrong, ".nvmrc").is_err(), "{wrong}");
        }
    }
}
