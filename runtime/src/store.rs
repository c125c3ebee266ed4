//! The OCI store: manifests and configs as blobs, layers unpacked with ids unshifted, references, and collection of what nothing needs.
//!
//! Not for running anything. Layout: `blobs/sha256/<hex>`, `layers/<hex>/{fs,size,seal}`, `refs.json`, `stacks.json`.

mod export;
mod gc;
mod image;
mod import;
mod layer;
mod seal;
mod survey;
pub(crate) mod tree;
pub(crate) mod untar;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use landfall_runtime_wire::agent::FaultCode;

use crate::fault::{Doing as _, Result, fault};

pub(crate) use image::Image;
pub(crate) use layer::Staged;
pub(crate) use seal::damaged_layers;

/// One store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: PathBuf,
    /// Held while references or the set of layers change.
    changing: Arc<Mutex<()>>,
    making: Arc<RwLock<()>>,
    checks: Arc<seal::Checks>,
}

impl Store {
    /// Opens the store, making it if there is none; what a crash left half done is removed.
    pub(crate) fn open(root: PathBuf) -> Result<Self> {
        for part in ["blobs/sha256", "layers", "tmp"] {
            fs::create_dir_all(root.join(part)).doing(format!("making {}", root.join(part).display()))?;
        }
        for half in fs::read_dir(root.join("tmp")).doing("reading the store's tmp")?.flatten() {
            crate::disk::remove_tree(&half.path())?;
        }
        Ok(Self { root, changing: Arc::default(), making: Arc::default(), checks: Arc::default() })
    }

    /// The store's directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Hold it from an image's first layer to its manifest and name: until then nothing says that what it consists of is needed. A collection
    /// waits for it. Not to be taken twice by one thread.
    pub(crate) fn making(&self) -> RwLockReadGuard<'_, ()> {
        self.making.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` while nothing else changes references or layers.
    fn alone<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let _guard = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    fn blob_path(&self, hex: &str) -> PathBuf {
        self.root.join("blobs/sha256").join(hex)
    }

    fn put_blob(&self, content: &[u8]) -> Result<String> {
        let hex = sha256(content);
        let path = self.blob_path(&hex);
        if !path.exists() {
            write_atomic(&path, content)?;
        }
        Ok(format!("sha256:{hex}"))
    }

    /// A blob, checked against its digest before anybody uses it (R17).
    fn blob(&self, digest: &str) -> Result<Vec<u8>> {
        let hex = hex_of(digest)?;
        let content = fs::read(self.blob_path(hex)).doing(format!("reading {digest}"))?;
        if sha256(&content) != hex {
            return Err(fault(FaultCode::Digest, format!("{digest} is damaged on disk: its content has another digest")));
        }
        Ok(content)
    }
}

/// The hex part of `sha256:<hex>`.
pub(crate) fn hex_of(digest: &str) -> Result<&str> {
    let bad = || fault(FaultCode::Invalid, format!("{digest:?} is not a digest such as sha256:<64 hex digits>"));
    let hex = digest.strip_prefix("sha256:").ok_or_else(bad)?;
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) { Ok(hex) } else { Err(bad()) }
}

fn sha256(content: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(content))
}

/// Writes a file whole or not at all: temp, fsync, rename, fsync of the directory.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let doing = || format!("writing {}", path.display());
    let mut temp = tempfile::NamedTempFile::new_in(dir).doing(doing())?;
    temp.write_all(content).doing(doing())?;
    temp.as_file().sync_all().doing(doing())?;
    temp.persist(path).map_err(|error| error.error).doing(doing())?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).doing(doing())
}
