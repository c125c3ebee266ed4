//! Detection: each buildpack's `bin/detect` once, the first group that resolves wins.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use landfall_buildpacks::output::Output;

use crate::descriptor::{self, Descriptor, Member, Order, Places, Target};
use crate::env::Env;
use crate::plan::{self, PlanEntry, Written};
use crate::{Failure, files, hints};

/// Directories and environment of one build.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub app: PathBuf,
    pub layers: PathBuf,
    pub platform: PathBuf,
    pub buildpacks: PathBuf,
    pub order: PathBuf,
    pub inherited: Env,
    pub target: Target,
}

/// The buildpacks that take part, and their plan with indexes into them.
#[derive(Debug)]
pub(crate) struct Detected {
    pub group: Vec<Descriptor>,
    pub plan: Vec<PlanEntry>,
}

/// What one detect said.
enum Verdict {
    Pass(Written),
    Fail,
    Error(String),
}

impl Context {
    /// Environment of a buildpack; `layers` holds what earlier build layers added.
    pub(crate) fn env_for(&self, buildpack: &Descriptor, layers: &Env) -> Env {
        let mut env = layers.clone();
        if !buildpack.buildpack.clear_env {
            env.add_platform(&self.platform);
        }
        env.set("CNB_BUILDPACK_DIR", buildpack.dir.as_os_str());
        env.set("CNB_PLATFORM_DIR", self.platform.as_os_str());
        env.set("CNB_APP_DIR", self.app.as_os_str());
        if env.get("CNB_STACK_ID").is_none() {
            env.set("CNB_STACK_ID", "landfall");
        }
        env.set("CNB_TARGET_OS", &self.target.os);
        env.set("CNB_TARGET_ARCH", &self.target.arch);
        env.set("CNB_TARGET_ARCH_VARIANT", "");
        if let Some(distro) = self.target.distros.first() {
            env.set("CNB_TARGET_DISTRO_NAME", &distro.name);
            env.set("CNB_TARGET_DISTRO_VERSION", &distro.version);
        }
        if buildpack.minor() >= 12 {
            env.set("CNB_EXEC_ENV", "production");
        }
        env
    }
}

/// Finds the group for the app.
pub(crate) fn detect(context: &Context) -> Result<Detected, Failure> {
    let order: descriptor::Order = files::toml_or_default(&context.order, 22)?;
    if order.order.is_empty() {
        return Err(Failure::new(22, format!("{} names no buildpacks", context.order.display())));
    }
    let mut verdicts: HashMap<String, Verdict> = HashMap::new();
    let places = Places { buildpacks: &context.buildpacks, app: &context.app };
    for group in descriptor::unfold(&order, places)? {
        for member in &group {
            if let Entry::Vacant(place) = verdicts.entry(key(&member.descriptor)) {
                place.insert(run(context, &member.descriptor)?);
            }
        }
        if let Some(found) = choose(&group, &verdicts) {
            return Ok(found);
        }
    }
    Err(nothing(context, &order, &verdicts))
}

fn key(descriptor: &Descriptor) -> String {
    format!("{}@{}", descriptor.buildpack.id, descriptor.buildpack.version)
}

fn choose(group: &[Member], verdicts: &HashMap<String, Verdict>) -> Option<Detected> {
    let mut passing = Vec::new();
    for member in group {
        match verdicts.get(&key(&member.descriptor)) {
            Some(Verdict::Pass(written)) => passing.push((member, written.clone())),
            _ if member.optional => {}
            _ => return None,
        }
    }
    let plans: Vec<_> = passing.iter().map(|(m, w)| (w.clone(), m.optional)).collect();
    let (kept, mut plan) = plan::resolve(&plans)?;
    for entry in &mut plan {
        entry.providers = entry.providers.iter().filter_map(|p| kept.iter().position(|k| k == p)).collect();
    }
    Some(Detected { group: kept.iter().map(|k| passing[*k].0.descriptor.clone()).collect(), plan })
}

fn run(context: &Context, buildpack: &Descriptor) -> Result<Verdict, Failure> {
    if !buildpack.fits(&context.target) {
        let wanted: Vec<_> = buildpack.targets.iter().map(ToString::to_string).collect();
        return Ok(Verdict::Error(format!("it is made for {}; this stack is {}", wanted.join(" or "), context.target)));
    }
    let plan = context.layers.join(format!(".detect-{}.toml", files::escaped(&buildpack.buildpack.id)));
    let made = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&plan);
    made.map_err(|e| Failure::new(22, format!("cannot write {}: {e}", plan.display())))?;
    let verdict = run_program(context, buildpack, &plan);
    let _ = std::fs::remove_file(&plan);
    Ok(verdict)
}

fn run_program(context: &Context, buildpack: &Descriptor, plan: &Path) -> Verdict {
    let program = buildpack.dir.join("bin/detect");
    let mut env = context.env_for(buildpack, &context.inherited.allowed());
    env.set("CNB_BUILD_PLAN_PATH", plan.as_os_str());
    let mut command = Command::new(&program);
    command.arg(&context.platform).arg(plan).current_dir(&context.app).env_clear().envs(&env.0).stdin(Stdio::null());
    let ran = match command.output() {
        Ok(ran) => ran,
        Err(e) => return Verdict::Error(format!("cannot run {}: {e}", program.display())),
    };
    match ran.status.code() {
        Some(0) => match files::toml_or_default(plan, 22) {
            Ok(written) => Verdict::Pass(written),
            Err(e) => Verdict::Error(e.message),
        },
        Some(100) => Verdict::Fail,
        code => {
            let said = [ran.stdout, ran.stderr].concat();
            Verdict::Error(format!(
                "detect ended with {}\n{}",
                code.map_or("a signal".into(), |c| format!("code {c}")),
                String::from_utf8_lossy(&said).trim_end()
            ))
        }
    }
}

fn nothing(context: &Context, order: &Order, verdicts: &HashMap<String, Verdict>) -> Failure {
    let mut errors: Vec<_> = verdicts.iter().filter_map(|(k, v)| if let Verdict::Error(e) = v { Some((k, e)) } else { None }).collect();
    errors.sort();
    let mut out = Output::new(std::io::stderr());
    for (buildpack, error) in &errors {
        out.step(format!("{buildpack} could not look at the app"));
        out.detail(error);
    }
    let names = |all: &mut dyn Iterator<Item = &String>| {
        let mut names: Vec<&str> = all.map(|k| k.split('@').next().unwrap_or(k)).collect();
        names.sort_unstable();
        names.join(", ")
    };
    let message = match &order.chosen_by {
        Some(file) => {
            let failed = names(&mut verdicts.iter().filter(|(_, v)| !matches!(v, Verdict::Pass(_))).map(|(k, _)| k));
            hints::chosen_but_not_detected(file, &failed)
        }
        None => hints::nothing_detected(&context.app, &names(&mut verdicts.keys())),
    };
    Failure::new(if errors.is_empty() { 20 } else { 21 }, message)
}
