//! Images, layers and stacks as the agent tells of them.

use std::collections::BTreeMap;

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerInfo {
    /// `sha256:<hex>` of the uncompressed tar the layer would be.
    pub diff_id: String,
    /// Size of that tar in bytes.
    pub size_bytes: u64,
}

/// What an image says about the process it is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageConfig {
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments if the caller gives none.
    pub cmd: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// `uid`, `uid:gid`, or names of the image's passwd file.
    pub user: Option<String>,
    /// Opaque labels.
    pub labels: BTreeMap<String, String>,
    /// Ports it says it listens on, `8080/tcp`.
    pub exposed_ports: Vec<String>,
}

/// One image of the store.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageInfo {
    /// Manifest digest.
    pub digest: String,
    /// Names that point at it.
    pub references: Vec<String>,
    /// Base first.
    pub layers: Vec<LayerInfo>,
    /// What it runs and how.
    pub config: ImageConfig,
}

/// A pair of base images.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StackInfo {
    /// `landfall-13`.
    pub name: String,
    /// Debian suite it was made from.
    pub suite: String,
    /// Manifest digest of the image builds run in.
    pub build_image: String,
    /// Manifest digest of the image apps run in.
    pub run_image: String,
    /// Bytes of both together on disk.
    pub size_bytes: u64,
    /// Unix time in milliseconds when it was made.
    pub created_at_ms: u64,
    /// Distribution name, for buildpack targets: `debian`.
    pub distro_name: String,
    /// Distribution version: `13`.
    pub distro_version: String,
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GcReport {
    /// Images removed.
    pub images: u64,
    /// Layers removed.
    pub layers: u64,
    /// Bytes of the removed layers (as tars).
    pub bytes: u64,
}
