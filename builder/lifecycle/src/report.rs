//! What a build made, as `landfall-lifecycle build` leaves it in `/layers/landfall-report.json` for the builder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// File name of the report in the layers directory.
pub const REPORT_FILE: &str = "landfall-report.json";

/// Everything the builder must know to make the image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The buildpacks that took part, in order.
    pub group: Vec<ReportedBuildpack>,
    /// Process types after all buildpacks were merged.
    pub processes: Vec<ReportedProcess>,
    /// Layers with at least one type set, in group order, then by name. Last, without a buildpack: `/layers/sbom/launch` and `/layers/sbom/cache`.
    pub layers: Vec<ReportedLayer>,
    /// Image labels; the last buildpack wins per key.
    pub labels: BTreeMap<String, String>,
    /// Slices of the app directory: each is a list of globs relative to it.
    pub slices: Vec<Vec<String>>,
    /// `store.toml` text by buildpack id, restored verbatim at the next build.
    pub store: BTreeMap<String, String>,
    /// SBOM files, absolute paths.
    pub sboms: Vec<ReportedSbom>,
}

/// A buildpack of the detected group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedBuildpack {
    /// `landfall/python`.
    pub id: String,
    /// `1.0.0`.
    pub version: String,
    /// Buildpack API it speaks: `0.10`.
    pub api: String,
    /// Home page, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
}

/// A process type.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedProcess {
    /// `web`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The program and its fixed arguments; `["bash", "-c"]` with one of `args` for a Procfile line.
    pub command: Vec<String>,
    /// Arguments a person may replace (API 0.9 and later), or that theirs are added to (before).
    #[serde(default)]
    pub args: Vec<String>,
    /// Whether the image starts this one when nobody says which.
    #[serde(default)]
    pub default: bool,
    /// Directory it starts in; the app directory if absent.
    #[serde(default, rename = "working-dir", skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Not run by a shell.
    #[serde(default)]
    pub direct: bool,
    /// The buildpack that defined it.
    #[serde(default, rename = "buildpack-id")]
    pub buildpack: String,
}

impl ReportedProcess {
    /// The command as a person would write it in a Procfile: what `ps` and the formation show.
    pub fn shown(&self) -> String {
        if self.command == ["bash", "-c"] && self.args.len() == 1 {
            return self.args[0].clone();
        }
        self.command.iter().chain(&self.args).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

/// A layer directory of one buildpack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedLayer {
    /// Absolute path: `/layers/landfall_python/venv`.
    pub path: String,
    /// Buildpack id.
    pub buildpack: String,
    /// Layer name: `venv`.
    pub name: String,
    /// On the path of later buildpacks.
    pub build: bool,
    /// In the image.
    pub launch: bool,
    /// Kept for the next build.
    pub cache: bool,
    /// Text of the `<layer>.toml` to restore at the next build: `[metadata]` and below without `[types]`; empty if there is none.
    pub metadata: String,
    /// The directory is not there: reuse the previous image's layer of this name with the new metadata.
    #[serde(default)]
    pub reuse_previous: bool,
}

/// One SBOM file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedSbom {
    /// Absolute path.
    pub path: String,
    /// Buildpack id.
    pub buildpack: String,
    /// The layer it describes, or `launch` or `build` for the whole.
    pub subject: String,
}

impl Report {
    /// Reads a report, as the builder does after `build_file`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
