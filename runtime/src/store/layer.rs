//! Layers: made in a staging directory, named by what they hold, then renamed into place.

use std::fs;
use std::path::PathBuf;

use landfall_failpoint::failpoint;
use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::image::LayerInfo;

use super::survey::survey;
use super::{Store, hex_of, seal, tree, write_atomic};
use crate::fault::{Doing as _, Result, fault};

/// A layer being filled. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Staged {
    dir: tempfile::TempDir,
}

impl Staged {
    /// Where the content goes.
    pub(crate) fn fs(&self) -> PathBuf {
        self.dir.path().join("fs")
    }
}

impl Store {
    /// An empty layer to fill.
    pub(crate) fn stage(&self) -> Result<Staged> {
        let dir = tempfile::TempDir::new_in(self.root.join("tmp")).doing("making a staging directory")?;
        let staged = Staged { dir };
        fs::create_dir(staged.fs()).doing("making a staging directory")?;
        Ok(staged)
    }

    /// Names a filled layer by its digest and keeps it. One that is there already is not kept twice, unless it is damaged: then this one takes
    /// its place.
    pub(crate) fn layer_commit(&self, staged: Staged) -> Result<LayerInfo> {
        let seen = survey(&staged.fs()).doing("looking at a layer")?;
        let (diff_id, size_bytes) = tree::diff_id(&staged.fs()).doing("hashing a layer")?;
        let target = self.layer_dir(&diff_id)?;
        seal::seal(staged.dir.path(), &seen);
        write_atomic(&staged.dir.path().join("size"), size_bytes.to_string().as_bytes())?;
        let layer = LayerInfo { diff_id, size_bytes };
        failpoint("agent.layer.staged");
        self.alone(|| {
            if seal::is_damaged(&target) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, staged.dir.path(), rustix::fs::CWD, &target, exchange)
                    .doing("replacing a damaged layer")?;
                self.checks.forget(&layer.diff_id);
                // Not removed now: a dyno may still run on what is left of it. It goes when the agent is started next.
                let _kept = staged.dir.keep();
                return Ok(());
            }
            if target.join("size").exists() {
                return Ok(());
            }
            fs::rename(staged.dir.path(), &target).doing("keeping a layer")
        })?;
        Ok(layer)
    }

    pub(super) fn layer_dir(&self, diff_id: &str) -> Result<PathBuf> {
        Ok(self.root.join("layers").join(hex_of(diff_id)?))
    }

    /// The directory a layer was unpacked to.
    pub(crate) fn layer_fs(&self, diff_id: &str) -> Result<PathBuf> {
        let dir = self.layer_dir(diff_id)?;
        if !dir.join("size").is_file() || !dir.join("fs").is_dir() {
            return Err(fault(FaultCode::NotFound, format!("layer {diff_id} is not in the store")));
        }
        seal::refuse_damaged(&dir, diff_id)?;
        Ok(dir.join("fs"))
    }

    /// Name and size of a layer of the store.
    pub(crate) fn layer_info(&self, diff_id: &str) -> Result<LayerInfo> {
        let dir = self.layer_dir(diff_id)?;
        seal::refuse_damaged(&dir, diff_id)?;
        let text = fs::read_to_string(dir.join("size")).doing(format!("finding layer {diff_id}"))?;
        let size_bytes = text.trim().parse().map_err(|_| fault(FaultCode::Digest, format!("layer {diff_id} is damaged on disk")))?;
        Ok(LayerInfo { diff_id: diff_id.to_owned(), size_bytes })
    }
}
