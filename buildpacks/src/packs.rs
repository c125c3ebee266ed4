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

/// Which groups are tried, first to last.
pub(crate) const ORDER: &str = include_str!("../order.toml");
