//! `landfall-lifecycle build`: detect, run each `bin/build`, merge what they leave, write the report.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use landfall_buildpacks::output::Output;
use serde::{Deserialize, Serialize};

use crate::descriptor::{self, Descriptor};
use crate::detect::{self, Context};
use crate::env::Env;
use crate::plan::{PlanEntry, Require};
use crate::report::{REPORT_FILE, Report, ReportedBuildpack, ReportedLayer, ReportedProcess, ReportedSbom};
use crate::{Failure, files, hints, sbom};

pub(crate) const INVALID: u8 = 52;

#[derive(Debug, Default, Deserialize)]
struct Launch {
    #[serde(default)]
    processes: Vec<LaunchProcess>,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    slices: Vec<Slice>,
}

#[derive(Debug, Deserialize)]
struct LaunchProcess {
    #[serde(rename = "type")]
    kind: String,
    command: OneOrMany,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    default: bool,
    #[serde(default)]
    direct: bool,
    #[serde(default, rename = "working-dir")]
    working_dir: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Label {
    key: String,
    value: String,
}

#[derive(Debug, Deserialize)]
struct Slice {
    #[serde(default)]
    paths: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct BuildToml {
    #[serde(default)]
    unmet: Vec<Unmet>,
}

#[derive(Debug, Deserialize)]
struct Unmet {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct LayerToml {
    types: Option<Types>,
    #[serde(default)]
    metadata: toml::Table,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
struct Types {
    #[serde(default)]
    build: bool,
    #[serde(default)]
    launch: bool,
    #[serde(default)]
    cache: bool,
}

#[derive(Serialize)]
struct PlanFile<'a> {
    entries: Vec<&'a Require>,
}

#[derive(Serialize)]
struct Restored<'a> {
    metadata: &'a toml::Table,
}

/// A build with the directories of the usual `CNB_*` variables.
pub(crate) fn from_environment() -> Result<(), Failure> {
    let inherited = Env::inherited();
    let dir = |key: &str, default: &str| inherited.get(key).map_or_else(|| PathBuf::from(default), PathBuf::from);
    let layers = dir("CNB_LAYERS_DIR", "/layers");
    let own_order = layers.join("order.toml");
    let context = Context {
        app: dir("CNB_APP_DIR", "/app"),
        platform: dir("CNB_PLATFORM_DIR", "/platform"),
        buildpacks: dir("CNB_BUILDPACKS_DIR", "/cnb/buildpacks"),
        order: if own_order.is_file() { own_order } else { dir("CNB_ORDER_PATH", "/cnb/order.toml") },
        target: descriptor::here(),
        layers,
        inherited,
    };
    build(&context).map(|_| ())
}

/// Detects and builds; the report is written and returned.
pub(crate) fn build(context: &Context) -> Result<Report, Failure> {
    let detected = detect::detect(context)?;
    sbom::restore(&context.layers)?;
    if let ([only], Some(what)) = (&detected.group[..], hints::foreign(&context.app))
        && only.buildpack.id == "landfall/procfile"
    {
        Output::stdout().warning(format!(
            "this looks like {what}, which no buildpack here builds; the commands of the Procfile must be in the repository"
        ));
    }
    let mut report = Report::default();
    let mut layers_env = context.inherited.allowed();
    let mut plan = detected.plan;
    for (index, buildpack) in detected.group.iter().enumerate() {
        let dir = context.layers.join(files::escaped(&buildpack.buildpack.id));
        run(context, buildpack, index, &dir, &layers_env, &mut plan)?;
        collect(&mut report, buildpack, &dir)?;
        add_build_layers(&mut layers_env, &report, buildpack);
    }
    sbom::place(&context.layers, &mut report)?;
    if report.processes.is_empty() {
        Output::stdout().warning("no process types: add a Procfile with a line such as `web: COMMAND` to run this app");
    }
    let json = serde_json::to_vec_pretty(&report).map_err(|e| Failure::new(INVALID, format!("cannot write the report: {e}")))?;
    let path = context.layers.join(REPORT_FILE);
    std::fs::write(&path, json).map_err(|e| Failure::new(INVALID, format!("cannot write {}: {e}", path.display())))?;
    Ok(report)
}

fn run(
    context: &Context,
    buildpack: &Descriptor,
    index: usize,
    dir: &Path,
    layers: &Env,
    plan: &mut Vec<PlanEntry>,
) -> Result<(), Failure> {
    let id = &buildpack.buildpack.id;
    let io = |path: &Path, e: std::io::Error| Failure::new(INVALID, format!("cannot write {}: {e}", path.display()));
    std::fs::create_dir_all(dir).map_err(|e| io(dir, e))?;
    for stale in ["launch.toml", "build.toml"] {
        let _ = std::fs::remove_file(dir.join(stale));
    }
    let mine: Vec<&PlanEntry> = plan.iter().filter(|e| e.providers.contains(&index)).collect();
    let text = toml::to_string(&PlanFile { entries: mine.iter().flat_map(|e| &e.requires).collect() })
        .map_err(|e| Failure::new(INVALID, format!("cannot write the plan of {id}: {e}")))?;
    let path = context.layers.join(".plan.toml");
    std::fs::write(&path, text).map_err(|e| io(&path, e))?;

    let mut env = context.env_for(buildpack, layers);
    env.set("CNB_BP_PLAN_PATH", path.as_os_str());
    env.set("CNB_LAYERS_DIR", dir.as_os_str());
    let program = buildpack.dir.join("bin/build");
    let mut command = Command::new(&program);
    command.arg(dir).arg(&context.platform).arg(&path).current_dir(&context.app).env_clear().envs(&env.0).stdin(Stdio::null());
    let status = command.status().map_err(|e| Failure::new(51, format!("cannot run {}: {e}", program.display())))?;
    let _ = std::fs::remove_file(&path);
    if !status.success() {
        return Err(Failure::new(
            51,
            format!(
                "The buildpack {id} failed ({status}).\nIts own message is above. Nothing was released; fix it, commit and push again."
            ),
        ));
    }

    let told: BuildToml = files::toml_or_default(&dir.join("build.toml"), INVALID)?;
    if let Some(unknown) = told.unmet.iter().find(|u| !mine.iter().any(|e| e.name == u.name)) {
        return Err(Failure::new(INVALID, format!("{id} calls {} unmet in build.toml, but it was not in its plan", unknown.name)));
    }
    plan.retain_mut(|entry| {
        let unmet = told.unmet.iter().any(|u| u.name == entry.name);
        let here = entry.providers.contains(&index);
        entry.providers.retain(|p| *p != index);
        !here || unmet
    });
    Ok(())
}

fn collect(report: &mut Report, buildpack: &Descriptor, dir: &Path) -> Result<(), Failure> {
    let about = &buildpack.buildpack;
    report.group.push(ReportedBuildpack {
        id: about.id.clone(),
        version: about.version.clone(),
        api: buildpack.api.clone(),
        homepage: about.homepage.clone(),
    });
    for path in files::sorted(dir) {
        let file = files::name(&path);
        if let Some((subject, format)) = file.split_once(".sbom.") {
            sbom::declared(about, format, &path)?;
            report.sboms.push(ReportedSbom { path: path.display().to_string(), buildpack: about.id.clone(), subject: subject.into() });
        }
        let Some(name) = file.strip_suffix(".toml").filter(|n| !["launch", "build", "store"].contains(n)) else { continue };
        collect_layer(report, about, dir, name, &path)?;
    }
    if let Some(store) = files::text(&dir.join("store.toml"), INVALID)? {
        toml::from_str::<toml::Table>(&store)
            .map_err(|e| Failure::new(INVALID, format!("store.toml of {} is not TOML: {}", about.id, e.message())))?;
        report.store.insert(about.id.clone(), store);
    }
    let launch: Launch = files::toml_or_default(&dir.join("launch.toml"), INVALID)?;
    collect_launch(report, buildpack, launch)
}

fn collect_layer(report: &mut Report, about: &descriptor::About, dir: &Path, name: &str, path: &Path) -> Result<(), Failure> {
    let layer: LayerToml = files::toml_or_default(path, INVALID)?;
    let types = layer.types.unwrap_or_default();
    let place = dir.join(name);
    if !(types.build || types.launch || types.cache) {
        if place.is_dir() {
            let _ = std::fs::rename(&place, dir.join(format!("{name}.ignore")));
        }
        return Ok(());
    }
    let missing = !place.is_dir();
    if missing && (types.cache || types.build || !types.launch) {
        return Err(Failure::new(
            INVALID,
            format!("{} describes the layer {name} in {}, but there is no such directory", about.id, path.display()),
        ));
    }
    let metadata = if layer.metadata.is_empty() {
        String::new()
    } else {
        toml::to_string(&Restored { metadata: &layer.metadata })
            .map_err(|e| Failure::new(INVALID, format!("metadata of layer {name}: {e}")))?
    };
    report.layers.push(ReportedLayer {
        path: place.display().to_string(),
        buildpack: about.id.clone(),
        name: name.into(),
        build: types.build,
        launch: types.launch,
        cache: types.cache,
        metadata,
        reuse_previous: missing,
    });
    Ok(())
}

fn collect_launch(report: &mut Report, buildpack: &Descriptor, launch: Launch) -> Result<(), Failure> {
    let id = &buildpack.buildpack.id;
    if launch.processes.iter().filter(|p| p.default).count() > 1 {
        return Err(Failure::new(INVALID, format!("{id} calls more than one process the default in launch.toml")));
    }
    for process in launch.processes {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if process.kind.is_empty() || !process.kind.chars().all(allowed) {
            return Err(Failure::new(
                INVALID,
                format!("{id} names a process {:?}: only letters, digits, `.`, `_` and `-` are allowed", process.kind),
            ));
        }
        let old = buildpack.minor() < 9;
        let (command, args, direct) = match process.command {
            OneOrMany::Many(command) => (command, process.args, !old || process.direct),
            OneOrMany::One(line) if process.direct || !old => (vec![line], process.args, true),
            OneOrMany::One(line) if process.args.is_empty() => (vec!["bash".into(), "-c".into()], vec![line], false),
            OneOrMany::One(program) => (vec![program], process.args, false),
        };
        if process.default {
            report.processes.iter_mut().for_each(|p| p.default = false);
        }
        let merged = ReportedProcess {
            kind: process.kind,
            command,
            args,
            default: process.default,
            working_dir: process.working_dir,
            direct,
            buildpack: id.clone(),
        };
        match report.processes.iter_mut().find(|p| p.kind == merged.kind) {
            Some(earlier) => *earlier = merged,
            None => report.processes.push(merged),
        }
    }
    report.labels.extend(launch.labels.into_iter().map(|l| (l.key, l.value)));
    report.slices.extend(launch.slices.into_iter().map(|s| s.paths));
    Ok(())
}

fn add_build_layers(env: &mut Env, report: &Report, buildpack: &Descriptor) {
    for layer in report.layers.iter().filter(|l| l.build && l.buildpack == buildpack.buildpack.id) {
        let path = Path::new(&layer.path);
        env.add_layer_dirs(path, true);
        env.add_env_dir(&path.join("env"));
        env.add_env_dir(&path.join("env.build"));
    }
}

#[cfg(test)]
mod tests;
