//! The past: what is kept of it, what goes, and what a new server still knows.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Options, eventually};
use serde_json::Value;

const SWEPT: Duration = Duration::from_secs(30);

fn keeping(numbers: &[(&str, u32)]) -> Options {
    let set = numbers.iter().map(|(key, number)| (format!("keep.{key}"), number.to_string()));
    Options { set: set.collect(), ..Options::default() }
}

/// Deploys code that answers with `words`.
fn deploy(app: &App<'_>, words: &str) -> Result<()> {
    app.write("app.py", HELLO.replace("Hello from Landfall", words))?.push()?;
    app.answers_when(|answer| answer.body == format!("{words}\n"))?;
    Ok(())
}

/// The image store: how many images there are, the layers they and the build caches name, and the layers there are.
fn images(instance: &Instance) -> Result<(usize, BTreeSet<String>, BTreeSet<String>)> {
    let root = instance.data_dir().join("agent/images");
    let mut named = BTreeSet::new();
    let mut count = 0;
    for blob in std::fs::read_dir(root.join("blobs/sha256"))?.flatten() {
        let Ok(blob) = serde_json::from_slice::<Value>(&std::fs::read(blob.path())?) else { continue };
        if let Some(layers) = blob["layers"].as_array() {
            count += 1;
            named.extend(layers.iter().filter_map(|layer| Some(layer["digest"].as_str()?.strip_prefix("sha256:")?.to_owned())));
        }
    }
    for cache in std::fs::read_dir(instance.data_dir().join("build-cache"))?.flatten() {
        let cache: Value = serde_json::from_slice(&std::fs::read(cache.path())?)?;
        let layers = cache["layers"].as_array().into_iter().flatten();
        named.extend(layers.filter_map(|layer| Some(layer["layer"]["diff_id"].as_str()?.strip_prefix("sha256:")?.to_owned())));
    }
    Ok((count, named, names(&root.join("layers"))?))
}

fn names(dir: &Path) -> Result<BTreeSet<String>> {
    Ok(std::fs::read_dir(dir)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn statuses(app: &App<'_>) -> Result<String> {
    let list = app.json(&["releases", "--json"])?;
    let mut all: Vec<(u64, &str)> =
        list.as_array().into_iter().flatten().filter_map(|one| Some((one["version"].as_u64()?, one["status"].as_str()?))).collect();
    all.sort_unstable();
    Ok(all.iter().map(|(version, status)| format!("v{version} {status}")).collect::<Vec<_>>().join(", "))
}

pub(crate) fn only_what_is_referred_to_stays() -> Result<()> {
    let instance = Instance::start(&keeping(&[("images", 2), ("builds", 2)]))?;
    let app = App::hello(&instance, "forgetful")?;
    let id = app.json(&["apps:info", "--json"])?["id"].as_str().context("an id")?.to_owned();
    let (first_images, _, _) = images(&instance)?;
    // What the first dyno wrote, as if a week and a day had passed since.
    let log_dir = instance.data_dir().join("logs").join(&id);
    let first_log = names(&log_dir)?.into_iter().find(|name| name.starts_with("web.1.")).context("the first dyno's log")?;
    for words in ["two", "three", "four"] {
        deploy(&app, words)?;
    }
    let old = SystemTime::now() - Duration::from_hours(8 * 24);
    std::fs::File::options().append(true).open(log_dir.join(&first_log))?.set_modified(old)?;
    app.landfall(&["config:set", "A=1"]).ok()?;
    deploy(&app, "six")?;

    eventually(SWEPT, || {
        let found = statuses(&app)?;
        // v6 is a config change: it runs what v5 runs, and v7 is the newest code.
        let wanted = "v1 succeeded, v2 expired, v3 expired, v4 expired, v5 succeeded, v6 succeeded, v7 succeeded";
        ensure!(found == wanted, "{found}");
        let (count, named, there) = images(&instance)?;
        ensure!(count == first_images + 1, "{count} images, {first_images} after the first deploy");
        ensure!(named == there, "layers without an image {:?}, missing {:?}", there.difference(&named), named.difference(&there));
        let builds = names(&instance.data_dir().join("builds"))?;
        ensure!(builds.len() == 2, "{builds:?}");
        let logs = names(&log_dir)?;
        ensure!(
            !logs.contains(&first_log) && logs.iter().any(|name| name.starts_with("web.1.")) && logs.contains("router.log"),
            "{logs:?}"
        );
        Ok(())
    })?;

    let refused = app.landfall(&["rollback", "v2"]).fails()?;
    ensure!(refused.stderr.contains("v2: it has expired") && refused.stderr.contains("git push --force landfall"), "{}", refused.stderr);
    let forgotten = app.json(&["builds", "--json"])?.as_array().and_then(|all| Some(all.last()?["id"].as_str()?.to_owned()));
    let forgotten = app.landfall(&["builds:output", &forgotten.context("a build")?]).done()?;
    ensure!(forgotten.all().contains("The log of this build is gone"), "{}", forgotten.all());
    app.landfall(&["rollback", "v5"]).ok()?;
    app.answers_when(|answer| answer.body == "four\n")?;
    in_flight(&instance, &app)
}

/// Sweeps are called for all the time while releases are made of new and of old images: each runs.
fn in_flight(instance: &Instance, app: &App<'_>) -> Result<()> {
    let begun = std::time::Instant::now();
    let mut round = 0;
    while begun.elapsed() < Duration::from_secs(8) || round < 3 {
        round += 1;
        let before = app.newest_release()?.0;
        deploy(app, &format!("round {round}"))?;
        app.landfall(&["rollback", &format!("v{before}")]).ok()?;
        app.landfall(&["rollback", &format!("v{}", before + 1)]).ok()?;
        app.answers_when(|answer| answer.body == format!("round {round}\n"))?;
    }
    let log = app.log();
    ensure!(!log.contains("R99"), "{log}");
    eventually(SWEPT, || {
        let (_, named, there) = images(instance)?;
        ensure!(named == there, "layers without an image {:?}, missing {:?}", there.difference(&named), named.difference(&there));
        Ok(())
    })
}

/// Moments at which the log says something of a dyno, oldest first.
fn told(app: &App<'_>, words: &str) -> Vec<jiff::Timestamp> {
    let log = app.landfall(&["logs", "-n", "500", "--dyno", "worker.1"]).done().map(|done| done.stdout).unwrap_or_default();
    log.lines().filter(|line| line.contains(words)).filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

pub(crate) fn a_new_server_knows_what_the_old_one_knew() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "elephant")?;
    let web = |app: &App<'_>| -> Result<Value> {
        let dynos = app.json(&["ps", "--json"])?;
        let web: Vec<&Value> = dynos.as_array().into_iter().flatten().filter(|dyno| dyno["name"] == "web.1").collect();
        let [web] = web[..] else { bail!("one web.1 alone: {web:?}") };
        Ok(serde_json::json!([web["id"], web["state"], web["created_at"], web["updated_at"]]))
    };
    app.write("Procfile", "web: python app.py\nworker: exit 3\n")?.push()?;
    let before = eventually(Duration::from_secs(20), || {
        let web = web(&app)?;
        if web[1] == "up" { Ok(web) } else { bail!("{web}") }
    })?;
    app.landfall(&["ps:scale", "worker=1"]).ok()?;
    // At once, after 1 s, after 2 s: the fourth crash waits 4 s, give or take a fifth.
    eventually(Duration::from_secs(30), || {
        let crashes = told(&app, "State changed from up to crashed").len() + told(&app, "State changed from starting to crashed").len();
        if crashes >= 4 { Ok(()) } else { bail!("{crashes} crashes\n{}", app.log()) }
    })?;
    for role in ["server", "agent"] {
        instance.kill(role)?;
    }
    instance.api_answers()?;
    let exits = told(&app, "Process exited with status 3");
    ensure!(exits.len() == 4, "an end was told twice: {exits:?}");
    let next = eventually(Duration::from_secs(30), || told(&app, "Starting process").get(4).copied().context("no fifth start yet"))?;
    let waited = next.duration_since(exits[3]);
    ensure!(waited >= jiff::SignedDuration::from_millis(3_100), "the back-off was forgotten: {waited:?}\n{}", app.log());
    eventually(Duration::from_secs(20), || {
        let after = web(&app)?;
        if after == before { Ok(()) } else { bail!("before {before}, after {after}") }
    })
}
