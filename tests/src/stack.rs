//! The base images every instance needs, made once and shared by all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;

use crate::instance::{self, Instance, Options};
use crate::run::Run;

static MAKING: Mutex<()> = Mutex::new(());

fn cache() -> Result<PathBuf> {
    Ok(instance::root()?.with_file_name("landfall-stack-1"))
}

/// Puts the base images into a fresh data folder. Their layers stay where they are, behind links: nobody writes to a layer, and a hard link
/// would change each file's inode, which the next start of another instance would have to look into (ADR 21).
pub fn link_into(data_dir: &Path) -> Result<()> {
    make()?;
    let (from, to) = (cache()?.join("images"), data_dir.join("agent/images"));
    fs::create_dir_all(to.join("layers"))?;
    for entry in fs::read_dir(&from)?.flatten().filter(|entry| entry.file_name() != "layers") {
        Run::new("cp", &["-a", "--", &entry.path().to_string_lossy(), &to.to_string_lossy()]).ok()?;
    }
    for layer in fs::read_dir(from.join("layers"))?.flatten() {
        std::os::unix::fs::symlink(layer.path(), to.join("layers").join(layer.file_name()))?;
    }
    Ok(())
}

/// Hard links where both are on one file system, else a copy.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copy = |how: &[&str]| Run::new("cp", &[how, &["--", &from.to_string_lossy(), &to.to_string_lossy()]].concat()).ok();
    if copy(&["-al"]).is_err() {
        let _ = fs::remove_dir_all(to);
        copy(&["-a", "--reflink=auto"])?;
    }
    Ok(())
}

/// Makes the base images with a Landfall of its own, unless they are there.
pub fn make() -> Result<()> {
    let _one = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = cache()?;
    if cache.join("images").exists() {
        return Ok(());
    }
    let maker = Instance::start(&Options { without_stack: true, ..Options::default() })?;
    maker.landfall(&["stacks:create", "trixie"]).within(Duration::from_mins(15)).ok()?;
    fs::create_dir_all(&cache)?;
    let from = maker.data_dir().join("agent/images");
    let half = cache.join("images.half");
    let _ = fs::remove_dir_all(&half);
    copy(&from, &half)?;
    fs::rename(half, cache.join("images"))?;
    Ok(())
}
