//! What an agent leaves behind for the next one about each container.

use std::path::Path;
use std::time::SystemTime;

use landfall_runtime_wire::{ContainerInfo, ExitStatus, Limits};

use crate::fault::{Doing as _, Result};
use crate::net::Place;

/// One container, as written to its run directory.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Record {
    /// As it was asked for.
    pub(super) info: ContainerInfo,
    /// Manifest digest.
    pub(super) image: String,
    /// The port that means "ready", and the only way in from the host.
    pub(super) port: Option<u16>,
    /// Builds are nobody's after their agent died.
    pub(super) build: bool,
    /// What it may use; an agent of before wrote none down.
    #[serde(default)]
    pub(super) limits: Option<Limits>,
}

impl Record {
    /// Its place in the network, once it has an address.
    pub(super) fn place(&self) -> Option<Place> {
        Some(Place { address: self.info.ip?, port: self.port })
    }

    /// Replaces it as a whole: an agent killed meanwhile leaves the one or the other.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let doing = "writing a container's record";
        let bytes = serde_json::to_vec(self).map_err(std::io::Error::from).doing(doing)?;
        std::fs::write(dir.join("record.new"), bytes).doing(doing)?;
        std::fs::rename(dir.join("record.new"), dir.join("record.json")).doing(doing)
    }

    pub(super) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(dir.join("record.json")).ok()?).ok()
    }
}

/// When a container ended: its shim wrote that file then.
pub(super) fn ended_at_ms(dir: &Path) -> Option<u64> {
    let ended = std::fs::metadata(dir.join("exit")).ok()?.modified().ok()?;
    Some(ended.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis() as u64)
}

/// How a container ended, as its shim wrote it.
pub(super) fn exit_status(dir: &Path) -> Option<ExitStatus> {
    serde_json::from_slice(&std::fs::read(dir.join("exit")).ok()?).ok()
}
