//! From a finished build's root to an image. What the build did not touch is reused without reading it; what only the build made is renamed;
//! the rest is copied out of the merged view.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use landfall_failpoint::failpoint;
use landfall_glob::Pattern;
use landfall_runtime_wire::agent::{Fault, FaultCode};
use landfall_runtime_wire::build::{CommittedImage, CommittedLayer, ExportApp, ExportLayer, ExportPlan, ExtraContent, ExtraEntry};
use landfall_runtime_wire::image::LayerInfo;

use super::Core;
use super::builds::{BUILD_USER, Build, relative};
use crate::disk::{Owner, copy_open, dir_inside, make_dirs};
use crate::fault::{Doing as _, Result, fault};
use crate::overlay::Overlay;
use crate::store::{Staged, tree};

/// The merged root of a finished build, to read.
pub(super) fn view(core: &Core, build: &Build) -> Overlay {
    let lowers = std::iter::once(build.upper.clone()).chain(build.lowers.iter().cloned()).collect();
    Overlay { layers: core.store.root().join("layers"), lowers, upper: None }
}

/// Makes the image.
pub(super) fn commit(core: &Core, build: &Build, plan: ExportPlan) -> Result<CommittedImage> {
    failpoint("agent.commit.before");
    let _making = core.store.making();
    let base = core.store.image(&plan.base)?;
    let mut layers = Vec::new();
    for layer in &plan.layers {
        layers.push(export(core, build, layer)?);
    }
    let app = match &plan.app {
        Some(app) => export_app(core, build, app)?,
        None => Vec::new(),
    };
    let mut all = base.info.layers.clone();
    all.extend(plan.layers.iter().zip(&layers).filter(|(asked, _)| asked.in_image).map(|(_, made)| made.layer.clone()));
    all.extend(app.iter().map(|made| made.layer.clone()));
    if !plan.extra.is_empty() {
        all.push(extra(core, &plan.extra)?);
    }
    failpoint("agent.commit.layers-kept");
    let info = core.store.image_put(&all, &plan.config, plan.reference.as_deref())?;
    failpoint("agent.commit.image-named");
    Ok(CommittedImage { digest: info.digest, layers, app, size_bytes: all.iter().map(|layer| layer.size_bytes).sum() })
}

/// What the upper directory says about a path.
#[derive(Debug, PartialEq, Eq)]
enum Touched {
    No,
    Yes,
    Deleted,
}

/// Did the build write at or below `path`? Directories without content of their own (copied up for a time stamp) do not count.
fn touched(upper: &Path, path: &Path) -> io::Result<Touched> {
    let mut at = upper.to_path_buf();
    for part in path.components() {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Touched::No),
            Err(error) => return Err(error),
            Ok(meta) if tree::is_whiteout(&meta) => return Ok(Touched::Deleted),
            Ok(meta) if !meta.is_dir() || tree::is_opaque(&at) => return Ok(Touched::Yes),
            Ok(_) => {}
        }
    }
    Ok(if holds_anything(&at)? { Touched::Yes } else { Touched::No })
}

fn holds_anything(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || tree::is_opaque(&entry.path()) || holds_anything(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn export(core: &Core, build: &Build, asked: &ExportLayer) -> Result<CommittedLayer> {
    let path = relative(&asked.path)?;
    let touched = touched(&build.upper, path).doing(format!("looking at {}", asked.path.display()))?;
    if touched == Touched::Deleted {
        return Err(fault(FaultCode::NotFound, format!("the build deleted {}", asked.path.display())));
    }
    if let Some(diff_id) = asked.reuse.as_ref().filter(|_| touched == Touched::No) {
        return Ok(CommittedLayer { path: asked.path.clone(), layer: core.store.layer_info(diff_id)?, unchanged: true });
    }
    let staged = take(core, build, path)?;
    Ok(CommittedLayer { path: asked.path.clone(), layer: core.store.layer_commit(staged)?, unchanged: false })
}

/// A directory of the build as a layer that holds it at the same place.
fn take(core: &Core, build: &Build, path: &Path) -> Result<Staged> {
    let doing = || format!("taking /{} out of the build", path.display());
    let staged = core.store.stage()?;
    let target = make_dirs(&staged.fs(), path.parent().unwrap_or(Path::new("")), BUILD_USER).doing(doing())?;
    let target = target.join(path.file_name().unwrap_or_default());
    // A build may have put a link anywhere on the way: only a directory that is reached without one is its own.
    let ours = dir_inside(&build.upper, path).doing(doing())?;
    let below = build.lowers.iter().any(|lower| lower.join(path).symlink_metadata().is_ok());
    // A build's image has an empty /app: nothing below shows through.
    let empty_below = build.lowers.iter().all(|lower| fs::read_dir(lower.join(path)).map_or(true, |mut entries| entries.next().is_none()));
    if ours.is_some() && (!below || empty_below) {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = dir_inside(&build.upper, parent).doing(doing())?.ok_or_else(|| no_directory(path))?;
        rustix::fs::renameat(&parent, path.file_name().unwrap_or_default(), rustix::fs::CWD, &target).doing(doing())?;
        tree::settle(&target).doing(doing())?;
    } else {
        let (path, to) = (path.to_path_buf(), target);
        view(core, build).with(build.merged.clone(), move |root| {
            let from = dir_inside(root, &path).doing("copying a layer")?.ok_or_else(|| no_directory(&path))?;
            copy_open(&from, &to, Owner::All(BUILD_USER, BUILD_USER)).doing("copying a layer")
        })?;
    }
    Ok(staged)
}

fn no_directory(path: &Path) -> Fault {
    fault(FaultCode::NotFound, format!("the build left no directory /{} (a link is none)", path.display()))
}

/// The application: slices first, in their order, then the rest.
fn export_app(core: &Core, build: &Build, app: &ExportApp) -> Result<Vec<CommittedLayer>> {
    let path = relative(&app.dir)?;
    let rest = take(core, build, path)?;
    let mut layers = Vec::new();
    for globs in &app.slices {
        let globs: Vec<Pattern> = globs.iter().map(|glob| Pattern::new(glob)).collect();
        let slice = core.store.stage()?;
        let to = make_dirs(&slice.fs(), path, BUILD_USER).doing("slicing the application")?;
        if move_matches(&rest.fs().join(path), &to, Path::new(""), &globs).doing("slicing the application")? {
            layers.push(CommittedLayer { path: app.dir.clone(), layer: core.store.layer_commit(slice)?, unchanged: false });
        }
    }
    layers.push(CommittedLayer { path: app.dir.clone(), layer: core.store.layer_commit(rest)?, unchanged: false });
    Ok(layers)
}

/// Moves what matches; did anything?
fn move_matches(from: &Path, to: &Path, inside: &Path, globs: &[Pattern]) -> io::Result<bool> {
    let mut moved = false;
    let entries = fs::read_dir(from.join(inside))?.collect::<io::Result<Vec<_>>>()?;
    for entry in entries {
        let path = inside.join(entry.file_name());
        let names: Vec<&[u8]> = path.iter().map(OsStrExt::as_bytes).collect();
        if globs.iter().any(|glob| glob.matches(&names)) {
            make_dirs(to, inside, BUILD_USER)?;
            fs::rename(from.join(&path), to.join(&path))?;
            moved = true;
        } else if entry.file_type()?.is_dir() {
            moved |= move_matches(from, to, &path, globs)?;
        }
    }
    Ok(moved)
}

/// The platform's own files as a layer, owned by root.
fn extra(core: &Core, entries: &[ExtraEntry]) -> Result<LayerInfo> {
    let staged = core.store.stage()?;
    for entry in entries {
        let doing = || format!("adding {} to the image", entry.path.display());
        let path = relative(&entry.path)?;
        let parent = make_dirs(&staged.fs(), path.parent().unwrap_or(Path::new("")), 0).doing(doing())?;
        let target: PathBuf = parent.join(path.file_name().unwrap_or_default());
        let mode = match &entry.content {
            ExtraContent::Link { to } => {
                std::os::unix::fs::symlink(to, &target).doing(doing())?;
                continue;
            }
            ExtraContent::Program { from } => {
                fs::copy(core.config.libexec_dir.join(relative(from)?), &target).doing(doing())?;
                0o755
            }
            ExtraContent::Bytes { content, mode } => {
                fs::write(&target, content).doing(doing())?;
                mode & 0o777
            }
        };
        fs::set_permissions(&target, fs::Permissions::from_mode(mode)).doing(doing())?;
    }
    core.store.layer_commit(staged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_content_counts_as_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = Path::new("layers/bp/deps");
        assert_eq!(touched(dir.path(), path).unwrap(), Touched::No);
        fs::create_dir_all(dir.path().join("layers/bp/deps/lib")).unwrap();
        assert_eq!(touched(dir.path(), path).unwrap(), Touched::No);
        fs::write(dir.path().join("layers/bp/deps/lib/x"), "").unwrap();
        assert_eq!(touched(dir.path(), path).unwrap(), Touched::Yes);
    }
}
