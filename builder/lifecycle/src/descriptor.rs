//! buildpack.toml and order.toml: reading, target matching, and composite buildpacks unfolded into plain groups.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{Failure, files};

const CODE: u8 = 22;

/// One buildpack.toml.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub api: String,
    #[serde(default)]
    pub buildpack: About,
    #[serde(default)]
    pub order: Vec<OrderGroup>,
    #[serde(default)]
    pub targets: Vec<Target>,
    #[serde(default)]
    stacks: Vec<Stack>,
    #[serde(skip)]
    pub dir: PathBuf,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct About {
    pub id: String,
    pub version: String,
    pub homepage: Option<String>,
    #[serde(default, rename = "clear-env")]
    pub clear_env: bool,
    #[serde(default, rename = "sbom-formats")]
    pub sbom_formats: Vec<String>,
}

/// The way of old buildpacks to name a target.
#[derive(Debug, Clone, Default, Deserialize)]
struct Stack {
    id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Target {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub arch: String,
    #[serde(default)]
    pub variant: String,
    #[serde(default)]
    pub distros: Vec<Distro>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Distro {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub version: String,
}

/// order.toml. `chosen-by` and an entry's `uri` are Landfall's own: they stand in the order.toml that the platform writes for an app that
/// chooses its buildpacks.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Order {
    /// The app's file that chose the buildpacks.
    #[serde(default, rename = "chosen-by")]
    pub chosen_by: Option<String>,
    #[serde(default)]
    pub order: Vec<OrderGroup>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct OrderGroup {
    pub group: Vec<Entry>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Entry {
    pub id: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub optional: bool,
    /// Directory of a buildpack that is not installed: absolute, or relative to the app.
    #[serde(default)]
    pub uri: Option<PathBuf>,
}

/// Where buildpacks are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    /// `/cnb/buildpacks`.
    pub buildpacks: &'a Path,
    /// The app, for buildpacks of its own.
    pub app: &'a Path,
}

/// A group member ready to detect.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub descriptor: Descriptor,
    pub optional: bool,
}

impl Descriptor {
    /// Reads `/cnb/buildpacks/<id>/<version>/buildpack.toml`, or that of the entry's own directory; without a version, the only one that is there.
    pub(crate) fn read(places: Places, entry: &Entry) -> Result<Self, Failure> {
        let home = places.buildpacks.join(files::escaped(&entry.id));
        let dir = if let Some(own) = &entry.uri {
            places.app.join(own)
        } else if entry.version.is_empty() {
            let versions = files::sorted(&home);
            let [only] = &versions[..] else {
                return Err(Failure::new(
                    CODE,
                    format!("order.toml must name a version of {}: {} are installed", entry.id, versions.len()),
                ));
            };
            only.clone()
        } else {
            home.join(&entry.version)
        };
        let path = dir.join("buildpack.toml");
        if !path.is_file() {
            if let Some(own) = &entry.uri {
                return Err(Failure::new(CODE, format!("the app has no buildpack at {}: there is no {}", own.display(), path.display())));
            }
            return Err(Failure::new(CODE, format!("buildpack {}@{} is not installed: no {}", entry.id, entry.version, path.display())));
        }
        let read: Self = files::toml_or_default(&path, CODE)?;
        let minor = read.api.strip_prefix("0.").and_then(|m| m.parse::<u32>().ok());
        if !minor.is_some_and(|m| (7..=12).contains(&m)) {
            let name = if entry.id.is_empty() { &read.buildpack.id } else { &entry.id };
            return Err(Failure::new(12, format!("buildpack {name} speaks API {:?}; this lifecycle knows 0.7 to 0.12", read.api)));
        }
        read.check(&path)?;
        Ok(Self { dir, ..read })
    }

    /// Minor number of the API.
    pub(crate) fn minor(&self) -> u32 {
        self.api.strip_prefix("0.").and_then(|m| m.parse().ok()).unwrap_or(10)
    }

    /// The id becomes a directory below `/layers`, so it must be one of the specification's.
    fn check(&self, path: &Path) -> Result<(), Failure> {
        let id = &self.buildpack.id;
        let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "./-_".contains(c)) && !id.contains("..");
        if plain && !["app", "config", "generated", "sbom"].contains(&id.as_str()) && !id.starts_with(['/', '.']) {
            return Ok(());
        }
        Err(Failure::new(
            CODE,
            format!("{} has the id {id:?}: letters, digits, `.`, `/` and `-` make an id, such as my-company/tool", path.display()),
        ))
    }

    /// Whether it may run on `here`. A buildpack without targets runs anywhere that is Linux, unless its only stack is another system.
    pub(crate) fn fits(&self, here: &Target) -> bool {
        let bionic = || Target {
            distros: vec![Distro { name: "ubuntu".into(), version: "18.04".into() }],
            ..Target { os: "linux".into(), arch: "amd64".into(), ..Target::default() }
        };
        if self.targets.is_empty() {
            return self.stacks.is_empty() || self.stacks.iter().any(|s| s.id != "io.buildpacks.stacks.bionic") || bionic().fits(here);
        }
        self.targets.iter().any(|t| t.fits(here))
    }
}

impl Target {
    /// An empty field on either side fits anything.
    fn fits(&self, here: &Self) -> bool {
        let same = |want: &str, have: &str| want.is_empty() || have.is_empty() || want == have;
        let have = here.distros.first().cloned().unwrap_or_default();
        let distro = self.distros.is_empty() || self.distros.iter().any(|d| same(&d.name, &have.name) && same(&d.version, &have.version));
        same(&self.os, &here.os) && same(&self.arch, &here.arch) && same(&self.variant, &here.variant) && distro
    }
}

impl std::fmt::Display for Target {
    /// `linux/amd64 debian 13`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<&str> = [&self.os, &self.arch, &self.variant].into_iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
        f.write_str(&parts.join("/"))?;
        let distros: Vec<_> = self.distros.iter().map(|d| format!(" {} {}", d.name, d.version).trim_end().to_owned()).collect();
        f.write_str(&distros.join(","))
    }
}

/// This container: Linux, its architecture, and the distribution of `/etc/os-release`.
pub(crate) fn here() -> Target {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |key: &str| {
        let line = release.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Target {
        os: "linux".into(),
        arch: arch.into(),
        variant: String::new(),
        distros: vec![Distro { name: field("ID"), version: field("VERSION_ID") }],
    }
}

/// All plain groups that `order` means, in the order to try them.
pub(crate) fn unfold(order: &Order, places: Places) -> Result<Vec<Vec<Member>>, Failure> {
    let mut groups = Vec::new();
    for group in &order.order {
        groups.extend(unfold_group(&group.group, places, &mut Vec::new())?);
    }
    for group in &mut groups {
        let mut seen = Vec::new();
        group.retain(|m| {
            let id = m.descriptor.buildpack.id.to_lowercase();
            let first = !seen.contains(&id);
            seen.push(id);
            first
        });
    }
    Ok(groups)
}

fn unfold_group(entries: &[Entry], places: Places, inside: &mut Vec<String>) -> Result<Vec<Vec<Member>>, Failure> {
    let Some((first, rest)) = entries.split_first() else { return Ok(vec![Vec::new()]) };
    let descriptor = Descriptor::read(places, first)?;
    let mut heads: Vec<Vec<Member>> = Vec::new();
    if descriptor.order.is_empty() {
        heads.push(vec![Member { descriptor, optional: first.optional }]);
    } else {
        let id = descriptor.buildpack.id.clone();
        if inside.contains(&id) {
            return Err(Failure::new(CODE, format!("buildpack {id} contains itself: {} → {id}", inside.join(" → "))));
        }
        inside.push(id);
        for group in &descriptor.order {
            heads.extend(unfold_group(&group.group, places, inside)?);
        }
        inside.pop();
        if first.optional {
            heads.push(Vec::new());
        }
    }
    let tails = unfold_group(rest, places, inside)?;
    Ok(heads.iter().flat_map(|head| tails.iter().map(move |tail| [head.clone(), tail.clone()].concat())).collect())
}
