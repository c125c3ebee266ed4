//! The built-in buildpacks by id, and the order they are tried in.

mod nodejs;
mod procfile;
mod python;
mod static_site;

use std::path::Path;

use crate::contract::{Build, Problem};

/// One built-in buildpack.
pub(crate) struct Pack {
    /// `landfall/python`.
    pub id: &'static str,
    /// Its buildpack.toml.
    pub descriptor: &'static str,
    /// Whether the app is for it.
    pub detect: fn(&Path) -> bool,
    /// Does the work.
    pub build: fn(&mut Build) -> Result<(), Problem>,
}

/// Version of all of them.
pub(crate) const VERSION: &str = "1.0.0";

/// Every built-in buildpack.
pub(crate) const PACKS: &[Pack] = &[
    Pack { id: "landfall/python", descriptor: include_str!("../python/buildpack.toml"), detect: python::detect, build: python::build },
    Pack { id: "landfall/nodejs", descriptor: include_str!("../nodejs/buildpack.toml"), detect: nodejs::detect, build: nodejs::build },
    Pack {
        id: "landfall/static",
        descriptor: include_str!("../static/buildpack.toml"),
        detect: static_site::detect,
        build: static_site::build,
    },
    Pack {
        id: "landfall/procfile",
        descriptor: include_str!("../procfile/buildpack.toml"),
        detect: procfile::detect,
        build: procfile::build,
    },
];

/// Which groups are tried, first to last: the text of `/cnb/order.toml`.
pub const ORDER: &str = include_str!("../order.toml");

/// Whose buildpacks our own stand in for.
const OWNERS: &[&str] = &["landfall", "heroku", "heroku-community"];

/// Id and version of the built-in buildpack that people mean by a name or an address: `landfall/python`, `heroku/python`,
/// `https://github.com/heroku/heroku-buildpack-python.git#v250`. A fork of another owner is not ours.
pub fn named(name: &str) -> Option<(&'static str, &'static str)> {
    let name = name.trim().to_ascii_lowercase();
    let name = name.split(['#', '@']).next()?.trim_end_matches('/');
    let name = ["urn:cnb:builder:", "urn:cnb:registry:", "urn:buildpack:", "docker://docker.io/"]
        .iter()
        .find_map(|p| name.strip_prefix(p))
        .unwrap_or(name);
    let mut parts = name.rsplit('/');
    let (last, owner) = (parts.next()?, parts.next()?);
    let last = [".git", ".tgz", ".tar.gz"].iter().find_map(|s| last.strip_suffix(s)).unwrap_or(last);
    let language = ["heroku-buildpack-", "buildpack-"].iter().find_map(|p| last.strip_prefix(p)).unwrap_or(last);
    let language = if language == "node" { "nodejs" } else { language };
    let pack = PACKS.iter().find(|p| p.id.strip_prefix("landfall/") == Some(language));
    pack.filter(|_| OWNERS.contains(&owner)).map(|p| (p.id, VERSION))
}

/// Ids of all of them, for people.
pub fn ids() -> impl Iterator<Item = &'static str> {
    PACKS.iter().map(|p| p.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_built_in_buildpacks() {
        for (name, id) in [
            ("landfall/python", Some("landfall/python")),
            ("heroku/nodejs", Some("landfall/nodejs")),
            ("heroku/nodejs@5.7.9", Some("landfall/nodejs")),
            ("urn:cnb:builder:heroku/procfile", Some("landfall/procfile")),
            ("https://github.com/heroku/heroku-buildpack-python.git#v250", Some("landfall/python")),
            ("https://github.com/heroku/heroku-buildpack-static", Some("landfall/static")),
            ("https://buildpack-registry.s3.amazonaws.com/buildpacks/heroku/python.tgz", Some("landfall/python")),
            ("https://github.com/somebody/heroku-buildpack-python", None),
            ("heroku/ruby", None),
            ("python", None),
            ("", None),
        ] {
            assert_eq!(named(name).map(|(id, _)| id), id, "{name}");
        }
    }
}
