//! The disk is full to its last block: what goes on, what is refused and in which words, and that everything comes back by itself (rule Q7).

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Options, Run, eventually};

/// Room for a few builds, and quickly filled.
const DISK_MIB: u64 = 1536;

fn instance() -> Result<Instance> {
    Instance::start(&Options { disk_mib: Some(DISK_MIB), ..Options::default() })
}

/// Changes config vars through the API until that is refused; the answer, and how often it was not. The database has some room inside its
/// own files, and what fits there is rightly taken.
fn refused_config(instance: &Instance, app: &App<'_>) -> Result<(landfall_tests::http::Answer, u64)> {
    for accepted in 0..400 {
        let body = serde_json::json!({ "FILLER": format!("{accepted}{}", "x".repeat(30_000)) }).to_string();
        let answer = instance.api_request("PATCH", &format!("/apps/{}/config-vars", app.name), &body)?;
        if answer.status != 200 {
            return Ok((answer, accepted));
        }
    }
    bail!("400 changes of 30 kB were taken on a full disk")
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

pub(crate) fn a_full_disk_refuses_writes_and_stops_nothing_else() -> Result<()> {
    let instance = instance()?;
    let app = App::hello(&instance, "crammed")?;
    let repository = repository(&instance, &app)?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "pushed too early"))?.commit()?;
    let disk = instance.volume()?;

    disk.fill()?;
    let (refused, accepted) = refused_config(&instance, &app)?;
    ensure!(refused.status == 503 && refused.body.contains("\"disk_full\"") && refused.body.contains("ake room"), "{refused:?}");
    disk.fill()?;
    let told = app.landfall(&["config:set", &format!("OTHER={}", "y".repeat(30_000))]).fails()?;
    ensure!(told.stderr.contains("disk is full") && told.stderr.contains("ake room"), "{}", told.stderr);
    ensure!(versions(&app)?.len() as u64 == 2 + accepted, "what was refused made no release");
    for command in [&["config"][..], &["releases"], &["ps"], &["logs", "-n", "20"], &["apps"], &["builds"]] {
        app.landfall(command).ok().with_context(|| format!("{command:?} only reads"))?;
    }
    let push = app.git(&["push", "landfall", "main"]).fails()?;
    ensure!(push.stderr.contains("disk is full") && push.stderr.contains("landfall doctor"), "{}", push.stderr);
    sound(&repository)?;
    for _ in 0..30 {
        ensure!(app.get("/")?.status == 200, "the app serves on");
    }
    // Whoever dies now is there again as soon as there is room.
    for role in ["agent", "router", "server"] {
        instance.kill(role).with_context(|| format!("after {role} was killed"))?;
        app.answers(200)?;
    }

    disk.free()?;
    instance.api_answers()?;
    eventually(Duration::from_secs(30), || app.landfall(&["config:set", "GREETING=roomy"]).ok())?;
    if accepted > 0 {
        app.landfall(&["config:unset", "FILLER"]).ok()?;
    }
    app.answers_when(|answer| answer.body == "roomy\n")?;
    app.landfall(&["config:unset", "GREETING"]).ok()?;
    app.push()?;
    app.answers_when(|answer| answer.body == "pushed too early\n")?;
    versions(&app)?;
    sound(&repository)?;
    app.get("/after-all-that")?;
    eventually(Duration::from_secs(10), || if app.log().contains("GET /after-all-that") { Ok(()) } else { bail!("{}", app.log()) })
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

/// Waits for a signal in the middle of a release phase, then says more than a page.
const RELEASE: &str = r#"
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("before the disk was full", flush=True)
signal.sigwait([signal.SIGUSR1])
for number in range(500):
    print("meanwhile", number, "x" * 100, flush=True)
"#;

pub(crate) fn what_ends_and_dies_on_a_full_disk_is_made_up_for() -> Result<()> {
    let instance = instance()?;
    let app = App::hello(&instance, "strained")?;
    let filler = App::create(&instance, "filler")?;
    let disk = instance.volume()?;
    app.write("release.py", RELEASE)?.write("Procfile", "web: python app.py\nrelease: python release.py\n")?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "third"))?.commit()?;
    std::thread::scope(|scope| -> Result<()> {
        let push = scope.spawn(|| app.git(&["push", "landfall", "main"]).within(Duration::from_mins(5)).ok());
        let outputs = instance.data_dir().join("release-output");
        let phase = eventually(Duration::from_mins(2), || {
            ensure!(!push.is_finished(), "the push ended too early");
            let said = Run::new("grep", &["-rl", "before the disk was full", &outputs.to_string_lossy()]).ok()?.stdout;
            ensure!(!said.is_empty(), "nothing was said");
            instance.inside("release.py")?.first().copied().context("no release phase runs")
        })?;
        let signal = |pid, signal| {
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid).context("a pid")?, signal).map_err(anyhow::Error::from)
        };
        disk.kept_full(|| {
            // The database has no room inside its own files any more, either.
            refused_config(&instance, &filler)?;
            // Its output has no room, its end cannot be recorded, and the dyno that dies now cannot be started again.
            signal(phase, rustix::process::Signal::USR1)?;
            for pid in instance.inside("app.py")? {
                signal(pid, rustix::process::Signal::KILL)?;
            }
            eventually(
                Duration::from_secs(30),
                || if instance.inside("release.py")?.is_empty() { Ok(()) } else { bail!("it still runs") },
            )?;
            // The first new dyno comes at once, the next ones with a back-off.
            eventually(Duration::from_secs(30), || {
                let log = instance.process_log("server");
                ensure!(
                    app.get("/")?.status == 503 && log.contains("a dyno could not be started") && log.contains("the disk is full"),
                    "{log}"
                );
                Ok(())
            })
        })?;
        let pushed = push.join().map_err(|_| anyhow::anyhow!("the push panicked"))??;
        ensure!(pushed.stderr.contains("Released v3"), "{}", pushed.stderr);
        Ok(())
    })?;
    app.answers_when(|answer| answer.body == "third\n")?;
    ensure!(versions(&app)?.len() == 3);
    // What was lost is told by the time the container is removed.
    eventually(Duration::from_secs(10), || {
        let output = app.landfall(&["releases:output", "v3"]).ok()?.stdout;
        ensure!(output.contains("before the disk was full") && output.contains("Error L13 (Local delivery error)"), "{output}");
        Ok(())
    })
}
