//! Before a build's program starts: its root, with the source and the layers it gets back.

use std::path::{Component, Path};
use std::sync::Arc;

use landfall_runtime_wire::Stdio;
use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::build::BuildSpec;
use landfall_runtime_wire::shim::Bind;

use super::{BUILD_USER, Build};
use crate::agent::launch::Plan;
use crate::agent::{Core, spec};
use crate::disk::{self, Owner, copy_tree, make_dirs};
use crate::fault::{Doing as _, Result, blocking, fault};
use crate::store::Image;

/// Everything up to the start.
pub(super) async fn prepare(core: &Arc<Core>, spec: BuildSpec, image: Image) -> Result<Plan> {
    let core = core.clone();
    blocking(move || {
        let mut lowers = spec.restored.iter().map(|layer| core.store.layer_fs(&layer.diff_id)).collect::<Result<Vec<_>>>()?;
        lowers.extend(image.lowers.iter().cloned());
        let data = core.config.container_data_dir(spec.id.as_str());
        let (upper, merged) = (data.join("upper"), data.join("merged"));
        for dir in [&data, &merged] {
            disk::private_dir(dir)?;
        }
        fill(&core, &spec, &upper)?;
        let mut binds = spec::certificates(&core, &image)?;
        for bind in &spec.binds {
            binds.push(Bind { source: core.config.libexec_dir.join(relative(&bind.from)?), target: bind.to.clone() });
        }
        let mut process = spec::process(&image, spec.args, spec.env, Some(spec.app_dir))?;
        (process.uid, process.gid) = (BUILD_USER, BUILD_USER);
        let build = Build {
            lowers: lowers.clone(),
            upper,
            merged,
            finished: false,
            images: [image.info.digest.clone()].into(),
            layers: spec.restored.into_iter().map(|layer| layer.diff_id).collect(),
        };
        let layers = build.layers.iter().cloned().chain(image.info.layers.iter().map(|layer| layer.diff_id.clone())).collect();
        core.builds.change(|builds| builds.insert(spec.id.clone(), build));
        // The agent ends builds itself; the shim is the second line, should the agent die.
        let mut limits = spec.limits;
        limits.wall_ms = limits.wall_ms.map(|wall| wall.saturating_add(30_000));
        Ok(Plan {
            hostname: "build".to_owned(),
            process,
            lowers,
            layers,
            user_block: spec.user_block,
            limits,
            stdio: Stdio::Pipes,
            log: None,
            port: None,
            files: spec.files,
            binds,
        })
    })
    .await
}

/// Puts the source and the seed files into the fresh upper.
fn fill(core: &Core, spec: &BuildSpec, upper: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    std::fs::create_dir_all(upper).doing("making a build's root")?;
    std::fs::set_permissions(upper, std::fs::Permissions::from_mode(0o755)).doing("making a build's root")?;
    let source = std::fs::symlink_metadata(&spec.source_dir).doing(format!("looking at the source {}", spec.source_dir.display()))?;
    if !source.is_dir() || (source.uid() != core.config.server_uid && source.uid() != 0) {
        let said = format!("the source {} is no directory of Landfall's server", spec.source_dir.display());
        return Err(fault(FaultCode::Forbidden, said));
    }
    let app = relative(&spec.app_dir)?;
    if app.components().count() != 1 {
        return Err(fault(FaultCode::Invalid, format!("{} is not one directory below the root", spec.app_dir.display())));
    }
    copy_tree(&spec.source_dir, &upper.join(app), Owner::All(BUILD_USER, BUILD_USER)).doing("copying the source into the build")?;
    std::fs::set_permissions(upper.join(app), std::fs::Permissions::from_mode(0o755)).doing("copying the source into the build")?;
    make_dirs(upper, Path::new("/layers"), BUILD_USER).doing("making /layers of a build")?;
    for seed in &spec.seed {
        let doing = || format!("writing {} of a build", seed.path.display());
        let parent = make_dirs(upper, seed.path.parent().unwrap_or(Path::new("/")), BUILD_USER).doing(doing())?;
        let file = parent.join(seed.path.file_name().ok_or_else(|| fault(FaultCode::Invalid, doing()))?);
        std::fs::write(&file, &seed.content).doing(doing())?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(seed.mode & 0o777)).doing(doing())?;
        std::os::unix::fs::lchown(&file, Some(BUILD_USER), Some(BUILD_USER)).doing(doing())?;
    }
    Ok(())
}

/// A path without root, `.` and `..`.
pub(in crate::agent) fn relative(path: &Path) -> Result<&Path> {
    let path = path.strip_prefix("/").unwrap_or(path);
    let clean = path.components().all(|part| matches!(part, Component::Normal(_))) && path.components().count() > 0;
    if clean { Ok(path) } else { Err(fault(FaultCode::Invalid, format!("{} is not a plain path", path.display()))) }
}
