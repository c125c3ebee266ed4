//! Whether a layer still is what its digest says, at the price of a look at its directory (trust rules S12 and R17).
//!
//! A layer is hashed when it is made. Its seal holds what the file system said of every entry then ([`survey`]), the time of the inode's last
//! change included. No program can set that, so while the seal fits, the content is the one that was hashed. Where it does not, the whole
//! layer is hashed again: git's index works so. What no file system tells of, bits that rot on a disk, is found by hashing everything from time
//! to time ([`Store::hash_old`]).

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use landfall_runtime_wire::agent::FaultCode;

use super::survey::{first_change, survey};
use super::{Store, tree};
use crate::fault::{Doing as _, Result, fault_hint};

/// In a layer's directory, beside `fs`.
const SEAL: &str = "seal";
/// In the directory of a layer that has another content than its name.
const DAMAGED: &str = "damaged";

/// What a layer's directory looked like when its content was hashed last.
struct Seal {
    /// Seconds since 1970.
    hashed_at: u64,
    /// The file: that time, and a [`survey`].
    bytes: Vec<u8>,
}

impl Seal {
    fn read(dir: &Path) -> Option<Self> {
        let bytes = fs::read(dir.join(SEAL)).ok()?;
        Some(Self { hashed_at: u64::from_le_bytes(*bytes.first_chunk()?), bytes })
    }

    fn survey(&self) -> &[u8] {
        &self.bytes[size_of::<u64>()..]
    }
}

/// Checks that were made or are being made, by layer.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<HashMap<String, Arc<Mutex<Option<Check>>>>>);

#[derive(Debug)]
struct Check {
    begun: Instant,
    outcome: Result<()>,
}

impl Checks {
    fn of(&self, diff_id: &str) -> Arc<Mutex<Option<Check>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(diff_id.to_owned()).or_default().clone()
    }

    pub(super) fn forget(&self, diff_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(diff_id);
    }
}

impl Store {
    /// Checks layers before something is started from them. Whoever asks while a look is under way waits for the next one, and all who wait
    /// share that: no start relies on a look from before it was asked for.
    ///
    /// # Errors
    /// [`FaultCode::Digest`] if one has another content than its digest says; it is marked, and the next layer of this content takes its place.
    pub(crate) fn check(&self, layers: &[String]) -> Result<()> {
        layers.iter().try_for_each(|diff_id| {
            let asked = Instant::now();
            let last = self.checks.of(diff_id);
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(check) = last.as_ref().filter(|check| check.begun >= asked) {
                return check.outcome.clone();
            }
            let (begun, outcome) = (Instant::now(), self.look(diff_id));
            *last = Some(Check { begun, outcome: outcome.clone() });
            outcome
        })
    }

    fn look(&self, diff_id: &str) -> Result<()> {
        let fs = self.layer_fs(diff_id)?;
        let changed = match Seal::read(&self.layer_dir(diff_id)?) {
            Some(seal) => first_change(&fs, seal.survey()),
            None => Some(fs),
        };
        let Some(changed) = changed else { return Ok(()) };
        tracing::info!(layer = diff_id, changed = %changed.display(), "the files of a layer are not as they were left: hashing them again");
        self.hash_again(diff_id)
    }

    /// Hashes a layer, and seals or marks it.
    fn hash_again(&self, diff_id: &str) -> Result<()> {
        // Nothing is collected meanwhile: half a layer has another digest and is not damaged.
        let _stays = self.making();
        let (dir, fs) = (self.layer_dir(diff_id)?, self.layer_fs(diff_id)?);
        // Looked at first: a change in between breaks the seal.
        let seen = survey(&fs).doing(format!("looking at layer {diff_id}"))?;
        let found = tree::diff_id(&fs).doing(format!("hashing layer {diff_id}"))?.0;
        if found == diff_id {
            seal(&dir, &seen);
            return Ok(());
        }
        tracing::error!(layer = diff_id, found, "a layer is damaged on disk; nothing is started from it any more");
        if let Err(error) = fs::write(dir.join(DAMAGED), &found) {
            tracing::warn!(layer = diff_id, %error, "cannot mark a damaged layer: it is hashed again at the next start");
        }
        Err(damaged(diff_id, &found))
    }

    /// Hashes every layer whose last time is longer ago than `age`. To be called on a thread of its own; ends early when `stop` says so.
    pub(crate) fn hash_old(&self, age: Duration, stop: impl Fn() -> bool) -> Result<()> {
        let now = now();
        for entry in fs::read_dir(self.root.join("layers")).doing("reading the layers")?.flatten() {
            let is_old = Seal::read(&entry.path()).is_none_or(|seal| seal.hashed_at > now || now - seal.hashed_at >= age.as_secs());
            if stop() {
                break;
            }
            let diff_id = format!("sha256:{}", entry.file_name().to_string_lossy());
            if is_old && let Err(error) = self.hash_again(&diff_id) {
                tracing::debug!(layer = diff_id, %error, "not hashed");
            }
        }
        Ok(())
    }
}

/// Digests of the layers that are marked as damaged, of a store that may be in use; none where nobody may look.
pub(crate) fn damaged_layers(store: &Path) -> Vec<String> {
    let layers = fs::read_dir(store.join("layers")).into_iter().flatten().flatten();
    layers.filter(|layer| is_damaged(&layer.path())).map(|layer| format!("sha256:{}", layer.file_name().to_string_lossy())).collect()
}

/// Is this layer's directory marked as damaged?
pub(super) fn is_damaged(dir: &Path) -> bool {
    dir.join(DAMAGED).exists()
}

/// Refuses a layer that was found damaged before.
pub(super) fn refuse_damaged(dir: &Path, diff_id: &str) -> Result<()> {
    match fs::read_to_string(dir.join(DAMAGED)) {
        Ok(found) => Err(damaged(diff_id, &found)),
        Err(_) => Ok(()),
    }
}

fn damaged(diff_id: &str, found: &str) -> landfall_runtime_wire::agent::Fault {
    fault_hint(
        FaultCode::Digest,
        format!("a layer of its image is damaged on disk. Expected: {diff_id}, found: {found}"),
        "Check the disk, then push again, or make the base image again with: landfall stacks:create",
    )
}

/// Keeps what was seen of a layer before it was hashed. A seal that is lost or torn costs one more hashing, so nobody waits for the disk.
pub(super) fn seal(dir: &Path, survey: &[u8]) {
    if let Err(error) = fs::write(dir.join(SEAL), [&now().to_le_bytes(), survey].concat()) {
        tracing::debug!(dir = %dir.display(), %error, "a layer has no seal");
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, Store, String) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("images")).unwrap();
        let staged = store.stage().unwrap();
        fs::create_dir(staged.fs().join("bin")).unwrap();
        fs::write(staged.fs().join("bin/program"), "as it was made").unwrap();
        let diff_id = store.layer_commit(staged).unwrap().diff_id;
        (dir, store, diff_id)
    }

    fn kept(store: &Store, diff_id: &str) -> Vec<u8> {
        fs::read(store.layer_dir(diff_id).unwrap().join(SEAL)).unwrap()
    }

    #[test]
    fn a_layer_that_nobody_touched_is_not_hashed_again() {
        let (_dir, store, diff_id) = made();
        let before = kept(&store, &diff_id);
        // Opened anew: as after a restart.
        let store = Store::open(store.root().to_owned()).unwrap();
        store.check(std::slice::from_ref(&diff_id)).unwrap();
        assert_eq!(kept(&store, &diff_id), before);
    }

    #[test]
    fn what_changed_and_is_the_same_passes_and_is_sealed_anew() {
        let (_dir, store, diff_id) = made();
        let before = kept(&store, &diff_id);
        let program = store.layer_fs(&diff_id).unwrap().join("bin/program");
        fs::write(&program, "as it was made").unwrap();
        store.look(&diff_id).unwrap();
        assert_ne!(kept(&store, &diff_id), before);
        // No seal at all, as on data of an earlier Landfall.
        fs::remove_file(store.layer_dir(&diff_id).unwrap().join(SEAL)).unwrap();
        store.look(&diff_id).unwrap();
        assert!(!kept(&store, &diff_id).is_empty());
    }

    /// Same length, and the time of the last change set back: only the inode's own time tells.
    #[test]
    fn other_content_is_refused_until_the_layer_is_made_again() {
        let (_dir, store, diff_id) = made();
        let program = store.layer_fs(&diff_id).unwrap().join("bin/program");
        let time = fs::metadata(&program).unwrap().modified().unwrap();
        fs::write(&program, "as it was MADE").unwrap();
        fs::File::options().write(true).open(&program).unwrap().set_modified(time).unwrap();
        let error = store.look(&diff_id).unwrap_err();
        assert!(error.code == FaultCode::Digest && error.message.contains(&format!("Expected: {diff_id}, found: sha256:")), "{error:?}");
        // Marked: nobody uses it, though what it holds was not looked at again.
        fs::write(&program, "as it was made").unwrap();
        assert_eq!(store.layer_fs(&diff_id).unwrap_err().code, FaultCode::Digest);
        assert_eq!(store.layer_info(&diff_id).unwrap_err().code, FaultCode::Digest);

        let staged = store.stage().unwrap();
        fs::create_dir(staged.fs().join("bin")).unwrap();
        fs::write(staged.fs().join("bin/program"), "as it was made").unwrap();
        assert_eq!(store.layer_commit(staged).unwrap().diff_id, diff_id);
        store.look(&diff_id).unwrap();
    }

    #[test]
    fn what_rots_below_the_file_system_is_found_by_hashing() {
        let (_dir, store, diff_id) = made();
        let fs_dir = store.layer_fs(&diff_id).unwrap();
        fs::write(fs_dir.join("bin/program"), "as it rotted..").unwrap();
        // The seal of the rotten layer: as if the file system had seen no change.
        super::seal(&store.layer_dir(&diff_id).unwrap(), &survey(&fs_dir).unwrap());
        store.look(&diff_id).unwrap();
        store.hash_old(Duration::from_hours(1), || false).unwrap();
        store.look(&diff_id).unwrap();
        store.hash_old(Duration::ZERO, || false).unwrap();
        assert_eq!(store.look(&diff_id).unwrap_err().code, FaultCode::Digest);
    }

    /// Each start's look begins after it was asked for, though several look at once.
    #[test]
    fn no_start_relies_on_a_look_from_before() {
        let (_dir, store, diff_id) = made();
        let program = store.layer_fs(&diff_id).unwrap().join("bin/program");
        let layers = std::slice::from_ref(&diff_id);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| store.check(layers).unwrap()));
            }
        });
        fs::write(&program, "as it was MADE").unwrap();
        assert_eq!(store.check(layers).unwrap_err().code, FaultCode::Digest);
    }
}
