//! What an agent leaves behind for the next one about each container.

use std::path::Path;

use landfall_runtime_wire::{ContainerInfo, ExitStatus};

use crate::fault::{Doing as _, Result};

/// One container, as written to its run directory.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Record {
    /// As it was asked for.
    pub(super) info: ContainerInfo,
    /// Manifest digest.
    pub(super) image: String,
    /// The port that means "ready".
    pub(super) port: Option<u16>,
    /// Builds are nobody's after their agent died.
    pub(super) build: bool,
}

impl Record {
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).map_err(std::io::Error::from).doing("writing a container's record")?;
        std::fs::write(dir.join("record.json"), bytes).doing("writing a container's record")
    }

    pub(super) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join("record.json")).ok()?).ok()
    }
}

/// How a container ended, as its shim wrote it.
pub(super) fn exit_status(dir: &Path) -> Option<ExitStatus> {
    serde_json::from_slice(&std::fs::read(dir.join("exit")).ok()?).ok()
}
