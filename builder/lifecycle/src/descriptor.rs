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
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Target {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub arch: String,
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

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Order {
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
}

/// A group member ready to detect.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub descriptor: Descriptor,
    pub optional: bool,
}

impl Descriptor {
    /// Reads `/cnb/buildpacks/<id>/<version>/buildpack.toml`; without a version, the only one that is there.
    pub(crate) fn read(buildpacks: &Path, entry: &Entry) -> Result<Self, Failure> {
        let home = buildpacks.join(files::escaped(&entry.id));
        let dir = if entry.version.is_empty() {
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
            return Err(Failure::new(CODE, format!("buildpack {}@{} is not installed: no {}", entry.id, entry.version, path.display())));
        }
        let read: Self = files::toml_or_default(&path, CODE)?;
        let minor = read.api.strip_prefix("0.").and_then(|m| m.parse::<u32>().ok());
        if !minor.is_some_and(|m| (7..=12).contains(&m)) {
            return Err(Failure::new(12, format!("buildpack {} speaks API {:?}; this lifecycle knows 0.7 to 0.12", entry.id, read.api)));
        }
        Ok(Self { dir, ..read })
    }

    /// Minor number of the API.
    pub(crate) fn minor(&self) -> u32 {
        self.api.strip_prefix("0.").and_then(|m| m.parse().ok()).unwrap_or(10)
    }

    /// Whether it may run on `here`. A buildpack without targets runs anywhere that is Linux.
    pub(crate) fn fits(&self, here: &Target) -> bool {
        let same = |want: &str, have: &str| want.is_empty() || have.is_empty() || want == have;
        let have = here.distros.first().cloned().unwrap_or_default();
        self.targets.is_empty()
            || self.targets.iter().any(|t| {
                let distro = t.distros.is_empty() || t.distros.iter().any(|d| same(&d.name, &have.name) && same(&d.version, &have.version));
                same(&t.os, &here.os) && same(&t.arch, &here.arch) && distro
            })
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
    Target { os: "linux".into(), arch: arch.into(), distros: vec![Distro { name: field("ID"), version: field("VERSION_ID") }] }
}

/// All plain groups that `order` means, in the order to try them.
pub(crate) fn unfold(order: &Order, buildpacks: &Path) -> Result<Vec<Vec<Member>>, Failure> {
    let mut groups = Vec::new();
    for group in &order.order {
        groups.extend(unfold_group(&group.group, buildpacks, &mut Vec::new())?);
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

fn unfold_group(entries: &[Entry], buildpacks: &Path, inside: &mut Vec<String>) -> Result<Vec<Vec<Member>>, Failure> {
    let Some((first, rest)) = entries.split_first() else { return Ok(vec![Vec::new()]) };
    let descriptor = Descriptor::read(buildpacks, first)?;
    let mut heads: Vec<Vec<Member>> = Vec::new();
    if descriptor.order.is_empty() {
        heads.push(vec![Member { descriptor, optional: first.optional }]);
    } else {
        if inside.contains(&first.id) {
            return Err(Failure::new(CODE, format!("buildpack {} contains itself: {} → {}", first.id, inside.join(" → "), first.id)));
        }
        inside.push(first.id.clone());
        for group in &descriptor.order {
            heads.extend(unfold_group(&group.group, buildpacks, inside)?);
        }
        inside.pop();
        if first.optional {
            heads.push(Vec::new());
        }
    }
    let tails = unfold_group(rest, buildpacks, inside)?;
    Ok(heads.iter().flat_map(|head| tails.iter().map(move |tail| [head.clone(), tail.clone()].concat())).collect())
}
