//! Pure: from a request and the app's cache to what the sandbox is given, and from the lifecycle's report to what becomes the image.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use landfall_lifecycle::metadata::{METADATA_FILE, Metadata};
use landfall_lifecycle::report::{Report, ReportedLayer};
use serde_json::json;

use super::cache::{CACHE_FORMAT, CacheRecord, CachedLayer};
use super::environment;
use super::request::BuildRequest;
use crate::config::BuildConfig;
use crate::sandbox::{
    BuildFile, ExportLayer, ExportPlan, Exported, ExtraContent, ExtraEntry, ImageConfig, ProgramBind, RestoredLayer, SandboxLimits,
    SandboxSpec,
};

const APP_DIR: &str = "/app";
const LAYERS_DIR: &str = "/layers";
const LIFECYCLE: &str = "landfall-lifecycle";
const LAUNCHER: &str = "/cnb/lifecycle/launcher";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The build user; the app runs as the same, as Heroku's do.
const USER: &str = "1000:1000";

/// The build container.
pub(super) fn spec(config: &BuildConfig, request: &BuildRequest, source_dir: PathBuf) -> SandboxSpec {
    let bind = |from: &str, to: &str| ProgramBind { from: from.into(), to: to.into() };
    let (restored, seed) = restore(request);
    SandboxSpec {
        build: request.build,
        app: request.app,
        image: request.stack.build_image.clone(),
        user_block: request.user_block,
        limits: SandboxLimits {
            memory_bytes: config.memory_bytes,
            cpu_shares: config.cpu_shares,
            pids: config.pids,
            disk_bytes: config.disk_bytes,
            wall_ms: u64::try_from(config.wall.as_millis()).unwrap_or(u64::MAX),
        },
        source_dir,
        app_dir: APP_DIR.into(),
        restored,
        seed,
        files: environment::platform(&config.settings, &request.config),
        binds: vec![
            bind(LIFECYCLE, "/cnb/lifecycle/landfall-lifecycle"),
            bind("cnb/buildpacks", "/cnb/buildpacks"),
            bind("cnb/order.toml", "/cnb/order.toml"),
        ],
        args: vec!["/cnb/lifecycle/landfall-lifecycle".to_owned(), "build".to_owned()],
        env: environment::container(&config.settings, &request.stack.name),
    }
}

/// The cache that may be used: one made on another build image holds programs for other libraries, so only `store.toml` is taken of it.
fn usable(request: &BuildRequest) -> &[CachedLayer] {
    match &request.cache {
        Some(cache) if cache.build_image == request.stack.build_image => &cache.layers,
        _ => &[],
    }
}

/// Contents of cached layers, and metadata of those that may be asked for again (the table of "Layer types" in the CNB specification).
fn restore(request: &BuildRequest) -> (Vec<RestoredLayer>, Vec<BuildFile>) {
    let seed_file = |path: String, text: &str| BuildFile { path: path.into(), mode: 0o644, content: text.as_bytes().to_vec() };
    let mut restored = Vec::new();
    let mut seed = Vec::new();
    for layer in usable(request) {
        let metadata_only = layer.launch && !layer.build && !layer.cache;
        if layer.cache {
            restored.push(layer.layer.clone());
        }
        if layer.cache || metadata_only {
            seed.push(seed_file(format!("{}.toml", layer.layer.path.display()), &layer.metadata));
        }
    }
    for (buildpack, text) in request.cache.iter().flat_map(|cache| &cache.store) {
        seed.push(seed_file(format!("{LAYERS_DIR}/{}/store.toml", escaped(buildpack)), text));
    }
    (restored, seed)
}

fn escaped(buildpack: &str) -> String {
    buildpack.replace('/', "_")
}

/// A report that asks for what cannot be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadReport {
    /// Outside `/layers/<buildpack>/<layer>`.
    #[error("the build reports a layer at {0}, which is no place for layers")]
    Place(String),
    /// `launch = true` without a directory, and no earlier one.
    #[error("the buildpack {buildpack} wants to keep its earlier layer {layer}, but there is none; clear the build cache and push again")]
    NoPrevious {
        /// Who.
        buildpack: String,
        /// What.
        layer: String,
    },
}

/// The image.
pub(super) fn export(request: &BuildRequest, report: &Report) -> Result<ExportPlan, BadReport> {
    let earlier: HashMap<PathBuf, &CachedLayer> = usable(request).iter().map(|layer| (layer.layer.path.clone(), layer)).collect();
    let mut layers = Vec::new();
    for layer in kept(report) {
        check_place(layer)?;
        let path = PathBuf::from(&layer.path);
        let known = earlier.get(&path);
        let reuse = if layer.reuse_previous {
            let Some(known) = known else {
                return Err(BadReport::NoPrevious { buildpack: layer.buildpack.clone(), layer: layer.name.clone() });
            };
            Some(known.layer.diff_id.clone())
        } else {
            known.filter(|known| known.cache).map(|known| known.layer.diff_id.clone())
        };
        layers.push(ExportLayer { path, reuse, in_image: layer.launch });
    }
    Ok(ExportPlan {
        base: request.stack.run_image.clone(),
        layers,
        app_dir: APP_DIR.into(),
        slices: report.slices.clone(),
        extra: extra(report),
        config: image_config(request, report),
    })
}

/// Layers worth keeping; a layer for this build only is not.
fn kept(report: &Report) -> impl Iterator<Item = &ReportedLayer> {
    report.layers.iter().filter(|layer| layer.launch || layer.cache)
}

/// The report was written inside the container, so it is a stranger's word.
fn check_place(layer: &ReportedLayer) -> Result<(), BadReport> {
    let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    let parts: Vec<&str> = layer.path.strip_prefix("/layers/").unwrap_or_default().split('/').collect();
    match parts[..] {
        [buildpack, name] if plain(buildpack) && plain(name) && buildpack != "config" => Ok(()),
        _ => Err(BadReport::Place(crate::source::printable(layer.path.as_bytes()))),
    }
}

fn extra(report: &Report) -> Vec<ExtraEntry> {
    let entry = |path: String, content| ExtraEntry { path: path.into(), content };
    let mut entries = vec![
        entry(LAUNCHER.to_owned(), ExtraContent::Program { from: LIFECYCLE.into() }),
        entry(format!("{LAYERS_DIR}/{METADATA_FILE}"), ExtraContent::Bytes(Metadata::of(report).to_toml().into_bytes())),
    ];
    for process in &report.processes {
        // The lifecycle checked the letters; this keeps a forged report from naming a path.
        if !process.kind.is_empty() && !process.kind.contains(['/', '\0']) && process.kind != "." && process.kind != ".." {
            entries.push(entry(format!("/cnb/process/{}", process.kind), ExtraContent::Link { to: LAUNCHER.into() }));
        }
    }
    entries
}

fn image_config(request: &BuildRequest, report: &Report) -> ImageConfig {
    let default =
        report.processes.iter().find(|process| process.default).or_else(|| report.processes.iter().find(|process| process.kind == "web"));
    let entrypoint = default.map_or_else(|| LAUNCHER.to_owned(), |process| format!("/cnb/process/{}", process.kind));
    let env = [
        ("PATH", format!("/cnb/process:/cnb/lifecycle:{PATH}")),
        ("HOME", APP_DIR.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("CNB_LAYERS_DIR", LAYERS_DIR.to_owned()),
        ("CNB_APP_DIR", APP_DIR.to_owned()),
    ];
    ImageConfig {
        env: env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        entrypoint: vec![entrypoint],
        cmd: Vec::new(),
        working_dir: APP_DIR.to_owned(),
        user: USER.to_owned(),
        labels: labels(request, report),
    }
}

fn labels(request: &BuildRequest, report: &Report) -> BTreeMap<String, String> {
    let mut labels = report.labels.clone();
    let buildpacks: Vec<_> = report.group.iter().map(|b| json!({"id": b.id, "version": b.version, "homepage": b.homepage})).collect();
    let build = json!({"processes": report.processes, "buildpacks": buildpacks, "launcher": {"version": env!("CARGO_PKG_VERSION")}});
    let detail: Vec<_> = report
        .group
        .iter()
        .map(|b| {
            let layers: BTreeMap<&str, _> = report
                .layers
                .iter()
                .filter(|layer| layer.buildpack == b.id && layer.launch)
                .map(|l| (l.name.as_str(), json!({"launch": l.launch, "build": l.build, "cache": l.cache})))
                .collect();
            json!({"key": b.id, "version": b.version, "layers": layers})
        })
        .collect();
    let lifecycle = json!({"buildpacks": detail, "runImage": {"reference": request.stack.run_image, "image": request.stack.name}});
    // Ours last: a buildpack cannot speak for the platform.
    labels.extend([
        ("io.buildpacks.build.metadata".to_owned(), build.to_string()),
        ("io.buildpacks.lifecycle.metadata".to_owned(), lifecycle.to_string()),
        ("io.buildpacks.stack.id".to_owned(), request.stack.name.clone()),
        ("io.buildpacks.base.distro.name".to_owned(), request.stack.distro_name.clone()),
        ("io.buildpacks.base.distro.version".to_owned(), request.stack.distro_version.clone()),
        ("io.buildpacks.rebasable".to_owned(), "true".to_owned()),
    ]);
    if let Some(version) = request.source.version() {
        let project = json!({"source": {"type": "git", "version": {"commit": version}}});
        labels.insert("io.buildpacks.project.metadata".to_owned(), project.to_string());
    }
    labels
}

/// What the next build gets.
pub(super) fn record(request: &BuildRequest, report: &Report, exported: &Exported) -> CacheRecord {
    let layers = kept(report)
        .zip(&exported.layers)
        .map(|(layer, made)| CachedLayer {
            layer: RestoredLayer { path: layer.path.clone().into(), diff_id: made.diff_id.clone() },
            metadata: layer.metadata.clone(),
            launch: layer.launch,
            build: layer.build,
            cache: layer.cache,
        })
        .collect();
    CacheRecord { format: CACHE_FORMAT, build_image: request.stack.build_image.clone(), layers, store: report.store.clone() }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
