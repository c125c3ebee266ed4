//! What an app's last good build left for the next one: one JSON file an app, replaced as a whole.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use landfall_builder::build::CacheRecord;
use landfall_model::AppId;

fn path(dir: &Path, app: AppId) -> PathBuf {
    dir.join(format!("{app}.json"))
}

/// Reads it; a missing or damaged one is no cache.
pub(super) fn load(dir: &Path, app: AppId) -> Option<CacheRecord> {
    CacheRecord::from_json(&std::fs::read_to_string(path(dir, app)).ok()?)
}

/// Replaces it: temporary file, fsync, rename.
pub(super) fn save(dir: &Path, app: AppId, record: &CacheRecord) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let temporary = dir.join(format!(".{app}.json"));
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(record.to_json().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path(dir, app))?;
    std::fs::File::open(dir)?.sync_all()
}

/// The next build starts from nothing.
pub(super) fn forget(dir: &Path, app: AppId) {
    if let Err(error) = std::fs::remove_file(path(dir, app)) {
        tracing::debug!(app.id = %app, %error, "there is no build cache to forget");
    }
}

/// Diff ids of every app's cache, for the image collection. An error means "do not collect now".
pub(crate) fn layers_in_use(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut layers = Vec::new();
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(layers),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "json")
            && let Some(record) = CacheRecord::from_json(&std::fs::read_to_string(entry.path())?)
        {
            layers.extend(record.diff_ids().map(str::to_owned));
        }
    }
    Ok(layers)
}
