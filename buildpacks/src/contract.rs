//! The buildpack side of the contract: what we are given, and the files we leave.

use std::io::Stdout;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::output::Output;

/// Why a build stops: words for the person who pushed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Problem(pub String);

impl Problem {
    /// A problem with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A file operation that failed.
    pub fn io(doing: &str, path: &Path, error: std::io::Error) -> Self {
        Self(format!("cannot {doing} {}: {error}", path.display()))
    }
}

/// One run of `bin/detect` or `bin/build`.
pub struct Build {
    /// The app.
    pub app: PathBuf,
    /// This buildpack's layers.
    pub layers: PathBuf,
    /// Where the build log goes.
    pub out: Output<Stdout>,
}

/// `[types]` and `[metadata]` of a layer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LayerFile {
    #[serde(default)]
    types: Types,
    #[serde(default)]
    metadata: Metadata,
}

/// What a layer is for.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Types {
    /// For later buildpacks.
    pub build: bool,
    /// In the image.
    pub launch: bool,
    /// Kept for the next build.
    pub cache: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Metadata {
    #[serde(default)]
    key: String,
}

/// A process type in launch.toml.
#[derive(Debug, Clone, Serialize)]
pub struct LaunchProcess {
    /// `web`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Program and fixed arguments.
    pub command: Vec<String>,
    /// Arguments a person may replace.
    pub args: Vec<String>,
    /// Started when nobody says which.
    pub default: bool,
}

impl Build {
    /// Whether a restored layer was made from the same `key` and is there; never for an empty key. It is then not touched, so its digest stays.
    pub fn layer_is(&self, name: &str, key: &str) -> bool {
        let text = std::fs::read_to_string(self.layers.join(format!("{name}.toml"))).unwrap_or_default();
        !key.is_empty() && self.layers.join(name).is_dir() && toml::from_str::<LayerFile>(&text).is_ok_and(|l| l.metadata.key == key)
    }

    /// The key a restored layer was made from.
    pub fn layer_key(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.layers.join(format!("{name}.toml"))).ok()?;
        Some(toml::from_str::<LayerFile>(&text).ok()?.metadata.key)
    }

    /// Sets what a layer is for, and the key it was made from.
    pub fn layer_set(&self, name: &str, types: Types, key: &str) -> Result<PathBuf, Problem> {
        let file = LayerFile { types, metadata: Metadata { key: key.to_owned() } };
        self.write_toml(&format!("{name}.toml"), &file)?;
        let path = self.layers.join(name);
        if !path.is_dir() {
            std::fs::create_dir_all(&path).map_err(|e| Problem::io("create", &path, e))?;
        }
        Ok(path)
    }

    /// Empties a layer.
    pub fn layer_clear(&self, name: &str) -> Result<(), Problem> {
        let path = self.layers.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(|e| Problem::io("empty", &path, e))?;
        }
        Ok(())
    }

    /// Writes launch.toml.
    pub fn launch(&self, processes: &[LaunchProcess]) -> Result<(), Problem> {
        #[derive(Serialize)]
        struct Launch<'a> {
            processes: &'a [LaunchProcess],
        }
        self.write_toml("launch.toml", &Launch { processes })
    }

    /// A file of the app as text; `None` if it is not there.
    pub fn app_text(&self, name: &str) -> Result<Option<String>, Problem> {
        match std::fs::read_to_string(self.app.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Problem::io("read", Path::new(name), e)),
        }
    }

    fn write_toml(&self, name: &str, value: &impl Serialize) -> Result<(), Problem> {
        let path = self.layers.join(name);
        let text = toml::to_string(value).map_err(|e| Problem::new(format!("cannot write {name}: {e}")))?;
        std::fs::write(&path, text).map_err(|e| Problem::io("write", &path, e))
    }
}
