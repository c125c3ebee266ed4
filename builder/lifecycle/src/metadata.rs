//! `/layers/config/metadata.toml`: what the launcher reads in the dyno. The builder writes it from the [`Report`].

use serde::{Deserialize, Serialize};

use crate::report::{Report, ReportedProcess};

/// Where the file stands, relative to the layers directory.
pub const METADATA_FILE: &str = "config/metadata.toml";

/// The launcher's input.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Buildpacks in group order: their layers change the environment in this order.
    #[serde(default)]
    pub buildpacks: Vec<MetadataBuildpack>,
    /// Process types.
    #[serde(default)]
    pub processes: Vec<ReportedProcess>,
}

/// A buildpack whose launch layers are in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataBuildpack {
    /// Buildpack id, unescaped.
    pub id: String,
    /// Version.
    #[serde(default)]
    pub version: String,
    /// Buildpack API.
    #[serde(default)]
    pub api: String,
}

impl Metadata {
    /// What the launcher needs of a report.
    pub fn of(report: &Report) -> Self {
        let buildpacks =
            report.group.iter().map(|b| MetadataBuildpack { id: b.id.clone(), version: b.version.clone(), api: b.api.clone() });
        Self { buildpacks: buildpacks.collect(), processes: report.processes.clone() }
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings, flags and lists of them are always valid TOML")
    }

    /// Reads the file's text.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_round_trip() {
        let process = ReportedProcess {
            kind: "web".into(),
            command: vec!["bash".into(), "-c".into()],
            args: vec!["echo \"$PORT\"\n'x'".into()],
            default: true,
            working_dir: Some("/app/web".into()),
            ..Default::default()
        };
        let buildpack = MetadataBuildpack { id: "landfall/procfile".into(), version: "1.0.0".into(), api: "0.10".into() };
        let metadata = Metadata { buildpacks: vec![buildpack], processes: vec![process] };
        assert_eq!(Metadata::from_toml(&metadata.to_toml()).unwrap(), metadata);
    }
}
