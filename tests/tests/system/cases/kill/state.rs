//! What must be true of a Landfall at rest, whatever happened to it (trust rule Q12).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Instance, Run, eventually};
use serde_json::Value;

/// Everything below; looked at until it is so.
pub(crate) fn settled(instance: &Instance, apps: &[&App<'_>]) -> Result<()> {
    eventually(Duration::from_mins(1), || {
        // What needs no API first: it counts how often it is asked.
        nothing_is_half_done(instance)?;
        let mut dynos = BTreeSet::new();
        for app in apps {
            dynos.extend(records_are_complete(instance, app).with_context(|| app.name.clone())?);
        }
        nothing_else_runs(instance, &dynos)
    })?;
    for app in apps {
        repository_is_sound(instance, app).with_context(|| app.name.clone())?;
    }
    Ok(())
}

fn api(instance: &Instance, path: &str) -> Result<Value> {
    let answer = instance.api_request("GET", path, "")?;
    ensure!(matches!(answer.status, 200 | 206), "{path}: {answer:?}");
    Ok(serde_json::from_str(&answer.body)?)
}

fn all(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Release numbers without a gap, one current release, nothing pending, and the dynos that the current release and the formation ask for. The
/// containers of those dynos.
fn records_are_complete(instance: &Instance, app: &App<'_>) -> Result<BTreeSet<String>> {
    let releases = app.json(&["releases", "-n", "1000", "--json"])?;
    let mut versions: Vec<u64> = all(&releases).filter_map(|release| release["version"].as_u64()).collect();
    versions.sort_unstable();
    ensure!(versions == (1..=versions.len() as u64).collect::<Vec<_>>(), "release numbers {versions:?}");
    ensure!(all(&releases).all(|release| release["status"] != "pending"), "a pending release: {releases}");
    let current: Vec<&Value> = all(&releases).filter(|release| release["current"] == true).map(|release| &release["version"]).collect();
    let [current] = current[..] else { bail!("current releases: {current:?}") };

    let builds = api(instance, &format!("/apps/{}/builds", app.name))?;
    ensure!(all(&builds).all(|build| build["status"] != "pending"), "a pending build: {builds}");

    let formation = api(instance, &format!("/apps/{}/formation", app.name))?;
    let mut wanted = Vec::new();
    for entry in all(&formation) {
        for index in 1..=entry["quantity"].as_u64().unwrap_or_default() {
            wanted.push(format!("{}.{index} up {current}", entry["type"].as_str().unwrap_or_default()));
        }
    }
    let dynos = api(instance, &format!("/apps/{}/dynos", app.name))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut there: Vec<String> =
        all(&dynos).map(|dyno| format!("{} {} {}", text(&dyno["name"]), text(&dyno["state"]), dyno["release"]["version"])).collect();
    wanted.sort();
    there.sort();
    ensure!(there == wanted, "dynos {there:?}, wanted {wanted:?}");
    Ok(all(&dynos).map(|dyno| format!("d-{}", text(&dyno["id"]).replace('-', ""))).collect())
}

fn names(dir: impl AsRef<Path>) -> BTreeSet<String> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Containers, their shims, their cgroups in every hierarchy, their links and their directories: those of the dynos, and no others.
fn nothing_else_runs(instance: &Instance, dynos: &BTreeSet<String>) -> Result<()> {
    let run = instance.run_dir().join("agent/containers");
    let same = |what: &str, there: &BTreeSet<String>| {
        ensure!(there == dynos, "{what}: {there:?}, wanted {dynos:?}");
        Ok(())
    };
    same("run directories", &names(&run))?;
    same("roots", &names(instance.data_dir().join("agent/containers")))?;
    let mut shims = BTreeSet::new();
    for process in names("/proc") {
        let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        if let Some(config) = command.split('\0').find_map(|word| Path::new(word).strip_prefix(&run).ok()) {
            ensure!(shims.insert(config.components().next().map(|id| id.as_os_str().to_string_lossy().into_owned()).unwrap_or_default()));
        }
    }
    same("shims", &shims)?;
    for hierarchy in names("/sys/fs/cgroup") {
        let ours = Path::new("/sys/fs/cgroup").join(&hierarchy).join(&instance.name);
        if ours.is_dir() {
            let groups: BTreeSet<String> = names(&ours).into_iter().filter(|name| ours.join(name).is_dir()).collect();
            same(&format!("cgroups of {hierarchy}"), &groups)?;
        }
    }
    let links = names(format!("/sys/class/net/{}0/brif", instance.name));
    ensure!(links.len() == dynos.len(), "links {links:?}, wanted {}", dynos.len());
    let mine = instance.data_dir();
    let mine = mine.parent().context("a folder")?.to_string_lossy();
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts: Vec<&str> = mounts.lines().filter(|line| line.contains(&*mine)).collect();
    ensure!(mounts.is_empty(), "mounts {mounts:?}");
    Ok(())
}

/// No source of a build, no layer that is being made, nobody's git.
fn nothing_is_half_done(instance: &Instance) -> Result<()> {
    let data = instance.data_dir();
    for build in names(data.join("builds")) {
        let source = data.join("builds").join(build).join("source");
        ensure!(!source.exists(), "{} is still there", source.display());
    }
    let staged = names(data.join("agent/images/tmp"));
    ensure!(staged.is_empty(), "layers that are being made: {staged:?}");
    for process in names("/proc") {
        let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let ours = command.contains("receive-pack") && command.contains(&*data.to_string_lossy());
        ensure!(!ours, "git still runs: {command}");
    }
    Ok(())
}

/// The app's id.
pub(crate) fn id(instance: &Instance, app: &App<'_>) -> Result<String> {
    Ok(api(instance, &format!("/apps/{}", app.name))?["id"].as_str().context("an id")?.to_owned())
}

fn repository_is_sound(instance: &Instance, app: &App<'_>) -> Result<()> {
    let repository = instance.data_dir().join("git").join(format!("{}.git", id(instance, app)?));
    let path = repository.to_string_lossy().into_owned();
    let git = |args: &[&str]| Run::new("git", &[&["-c", "safe.directory=*", "-C", &path], args].concat()).ok();
    git(&["fsck", "--full", "--strict", "--no-dangling"])?;
    let quarantines: Vec<String> = names(repository.join("objects")).into_iter().filter(|name| name.starts_with("tmp_")).collect();
    ensure!(quarantines.is_empty(), "pushes that were never accepted: {quarantines:?}");
    let (there, here) = (git(&["rev-parse", "refs/heads/main"])?.stdout, app.git(&["rev-parse", "HEAD"]).ok()?.stdout);
    ensure!(there == here, "the branch is at {there}, the last push was {here}");
    Ok(())
}
