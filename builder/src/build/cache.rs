//! What a build leaves for the app's next one. The controller stores it as JSON beside the app and replaces it only after success.

use std::collections::BTreeMap;

use crate::sandbox::RestoredLayer;

/// Bumped when an old record can no longer be read; such a record is dropped and the build starts from nothing.
pub const CACHE_FORMAT: u32 = 1;

/// One app's cache.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CacheRecord {
    /// [`CACHE_FORMAT`] of the writer.
    pub format: u32,
    /// Digest of the build image it was made on; another one means other libraries, so nothing is restored but `store`.
    pub build_image: String,
    /// Layers whose metadata or content the next build gets back.
    pub layers: Vec<CachedLayer>,
    /// `store.toml` by escaped buildpack id, as TOML text.
    pub store: BTreeMap<String, String>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct CachedLayer {
    /// Its place and its content's name.
    pub layer: RestoredLayer,
    /// `[metadata]` of its `<layer>.toml`, as TOML text; `[types]` is never kept.
    pub metadata: String,
    /// `types.launch`.
    pub launch: bool,
    /// `types.build`.
    pub build: bool,
    /// `types.cache`.
    pub cache: bool,
}

impl CacheRecord {
    /// Reads a stored record. One of another format, or damaged, is no cache: the next build starts from nothing.
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|record| record.format == CACHE_FORMAT)
    }

    /// The text to store.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data serialises")
    }

    /// Diff ids the store must keep for the next build: what it gets back, and what it may keep in its image without seeing it. No image
    /// need name them: the release they came with may have failed.
    pub fn diff_ids(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.layer.diff_id.as_str())
    }
}
