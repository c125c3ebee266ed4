//! The disk is full to its last block: what goes on, what is refused and in which words, and that everything comes back by itself (rule Q7).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Options, Run, eventually};

/// Room for a few builds, and quickly filled.
const DISK_MIB: u64 = 1536;

fn instance() -> Result<Instance> {
    Instance::start(&Options { disk_mib: Some(DISK_MIB), ..Options::default() })
}

/// All releases are there, numbered without a gap.
fn versions(app: &App<'_>) -> Result<Vec<u64>> {
    let list = app.json(&["releases", "-n", "1000", "--json"])?;
    let mut all: Vec<u64> = list.as_array().into_iter().flatten().filter_map(|release| release["version"].as_u64()).collect();
    all.sort_unstable();
    ensure!(all == (1..=all.len() as u64).collect::<Vec<_>>(), "{all:?}");
    Ok(all)
}

fn repository(instance: &Instance, app: &App<'_>) -> Result<std::path::PathBuf> {
    let id = app.json(&["apps:info", "--json"])?["id"].as_str().context("an id")?.to_owned();
    Ok(instance.data_dir().join("git").join(format!("{id}.git")))
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Whole, and without anything of a push that was refused.
fn sound(repository: &Path) -> Result<()> {
    Run::new("git", &["-c", "safe.directory=*", "--git-dir", &repository.to_string_lossy(), "fsck", "--strict", "--no-dangling"]).ok()?;
    let left: Vec<String> = names(&repository.join("objects")).into_iter().filter(|name| name.starts_with("tmp_")).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

pub(crate) fn a_build_that_fills_the_disk_leaves_nothing() -> Result<()> {
    let instance = instance()?;
    let app = App::hello(&instance, "gorged")?;
    let repository = repository(&instance, &app)?;
    let (before, disk) = (versions(&app)?, instance.volume()?);
    let room = disk.left()?;
    // All there is, as fast as it goes; it may well be done before anybody looks.
    app.write("bin/pre_compile", "#!/bin/bash\ndd if=/dev/zero of=/app/ballast bs=1M\n")?;
    let push = app.push_refused()?;
    let shown: Vec<&str> = push.stderr.lines().filter(|line| line.contains(" !     ")).map(str::trim_end).collect();
    ensure!(
        shown.ends_with(&[
            "remote:  !     Push rejected, this machine's disk is full. Running apps are not touched.",
            "remote:  !     The operator can see what fills it with: landfall doctor",
        ]),
        "{shown:#?}\n{}",
        push.stderr
    );
    ensure!(app.get("/")?.status == 200 && versions(&app)? == before, "nothing was released");
    ensure!(app.json(&["builds", "--json"])?[0]["status"] == "failed");
    eventually(Duration::from_secs(30), || {
        let data = instance.data_dir();
        let containers = names(&data.join("agent/containers"));
        ensure!(containers.iter().all(|name| !name.starts_with("b-")), "{containers:?}");
        let half_made = names(&data.join("agent/images/tmp"));
        ensure!(half_made.is_empty(), "{half_made:?}");
        let sources: Vec<String> =
            names(&data.join("builds")).into_iter().filter(|build| data.join("builds").join(build).join("source").exists()).collect();
        ensure!(sources.is_empty(), "{sources:?}");
        let left = disk.left()?;
        ensure!(left + (32 << 20) > room, "{left} bytes of {room} came back");
        Ok(())
    })?;
    sound(&repository)?;
    std::fs::remove_file(app.dir().join("bin/pre_compile"))?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "leaner"))?.push()?;
    app.answers_when(|answer| answer.body == "leaner\n")?;
    Ok(())
}
