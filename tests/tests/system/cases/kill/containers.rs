//! Containers and their shims die at moments of their own: in the middle of a build, in the middle of a release phase.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Done, Instance, Options, eventually};
use rustix::process::{Pid, Signal, kill_process};

use super::everything_is_back;
use super::state::settled;
use super::visitors::Visitors;

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// The parent of the container.
    Shim,
    /// The container's first process.
    Init,
    /// The two that know of it, at once.
    AgentAndServer,
}

const VICTIMS: [Victim; 3] = [Victim::Shim, Victim::Init, Victim::AgentAndServer];

impl Victim {
    fn die(self, instance: &Instance, container: &str) -> Result<()> {
        let pids = match self {
            Self::Shim => vec![shim(instance, container)?],
            Self::Init => {
                let shim = shim(instance, container)?;
                let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children"))?;
                vec![children.trim().parse().with_context(|| format!("one child: {children:?}"))?]
            }
            Self::AgentAndServer => vec![instance.pid("agent")?, instance.pid("server")?],
        };
        for pid in pids {
            kill_process(Pid::from_raw(pid).context("a pid")?, Signal::KILL)?;
        }
        Ok(())
    }
}

/// The shim of the one container whose name begins like this.
fn shim(instance: &Instance, container: &str) -> Result<i32> {
    let places = instance.run_dir().join("agent/containers").join(container).to_string_lossy().into_owned();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&places) {
            return Ok(process.file_name().to_string_lossy().parse()?);
        }
    }
    bail!("no shim of {container}…")
}

/// A push, and a death once a log below this part of the data folder says these words.
fn push_and(instance: &Instance, app: &App<'_>, words: &str, below: &str, death: impl FnOnce() -> Result<()>) -> Result<Done> {
    app.commit()?;
    std::thread::scope(|scope| {
        let push = scope.spawn(|| app.git(&["push", "landfall", "main"]).done());
        let died = eventually(Duration::from_mins(1), || says(&instance.data_dir().join(below), words)).and_then(|()| death());
        let pushed = push.join().map_err(|_| anyhow::anyhow!("the push failed"))?;
        died.with_context(|| format!("{pushed:?}"))?;
        pushed
    })
}

fn says(dir: &Path, words: &str) -> Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        let path = entry.path();
        let log = path.file_name().is_some_and(|name| name == "log") || path.extension().is_some_and(|extension| extension == "log");
        let found = if path.is_dir() {
            path.file_name().is_some_and(|name| name != "source") && says(&path, words).is_ok()
        } else {
            log && std::fs::read_to_string(&path).is_ok_and(|text| text.contains(words))
        };
        if found {
            return Ok(());
        }
    }
    bail!("nobody said {words:?}")
}

pub(crate) fn at_any_moment() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "mortal")?;
    let visitors = Visitors::of(instance.router, &[app.host()]);
    for victim in VICTIMS {
        in_a_build(&instance, &app, victim).with_context(|| format!("{victim:?} in a build"))?;
        visitors.saw_nothing()?;
    }
    for victim in VICTIMS {
        in_a_release_phase(&instance, &app, victim).with_context(|| format!("{victim:?} in a release phase"))?;
        visitors.saw_nothing()?;
    }
    drop(visitors);
    for victim in [Victim::Init, Victim::Shim] {
        let before = dyno(&app)?;
        victim.die(&instance, "d-")?;
        eventually(Duration::from_secs(30), || if dyno(&app)? == before { bail!("the same dyno") } else { Ok(()) })?;
        app.answers(200)?;
        settled(&instance, &[&app]).with_context(|| format!("{victim:?} of a dyno"))?;
    }
    Ok(())
}

fn dyno(app: &App<'_>) -> Result<String> {
    Ok(app.json(&["ps", "--json"])?[0]["id"].to_string())
}

fn in_a_build(instance: &Instance, app: &App<'_>, victim: Victim) -> Result<()> {
    let (release, mark) = (app.newest_release()?, format!("building until {victim:?} dies"));
    app.write("bin/pre_compile", format!("#!/bin/bash\necho {mark}\nexec sleep 300\n"))?;
    let push = push_and(instance, app, &mark, "builds", || victim.die(instance, "b-"))?;
    ensure!(push.code != 0, "{push:?}");
    everything_is_back(instance)?;
    eventually(Duration::from_secs(30), || {
        let builds = app.json(&["builds", "--json"])?;
        ensure!(builds[0]["status"] == "failed" && builds[0]["failure"].as_str().is_some_and(|why| !why.is_empty()), "{}", builds[0]);
        Ok(())
    })?;
    if victim != Victim::AgentAndServer {
        ensure!(push.stderr.contains(" ! ") && push.stderr.contains("Push again;"), "the push says what to do:\n{}", push.stderr);
    }
    ensure!(app.newest_release()? == release, "something was released");
    std::fs::remove_file(app.dir().join("bin/pre_compile"))?;
    deploys(instance, app, &format!("after {mark}"))
}

/// The next push works and serves.
fn deploys(instance: &Instance, app: &App<'_>, words: &str) -> Result<()> {
    app.write("app.py", HELLO.replace("Hello from Landfall", words))?.write("Procfile", "web: python app.py\n")?.push()?;
    app.answers_when(|answer| answer.body == format!("{words}\n"))?;
    settled(instance, &[app])
}

fn in_a_release_phase(instance: &Instance, app: &App<'_>, victim: Victim) -> Result<()> {
    let (before, mark) = (app.newest_release()?.0, format!("migrating until {victim:?} dies"));
    let words = format!("during {mark}");
    app.write("app.py", HELLO.replace("Hello from Landfall", &words))?;
    app.write("Procfile", format!("web: python app.py\nrelease: echo {mark} && sleep 5\n"))?;
    let push = push_and(instance, app, &mark, "release-output", || victim.die(instance, "r-"))?;
    ensure!(push.code != 0, "{push:?}");
    everything_is_back(instance)?;
    let wanted = if victim == Victim::AgentAndServer { "succeeded" } else { "failed" };
    eventually(Duration::from_secs(30), || {
        let newest = app.newest_release()?;
        ensure!(newest == (before + 1, wanted.to_owned()), "{newest:?}");
        Ok(())
    })?;
    if victim == Victim::AgentAndServer {
        // Nothing was lost but the connection: the phase went on, and so does the push.
        let again = app.git(&["push", "landfall", "main"]).ok()?;
        ensure!(again.stderr.contains("Going on with an earlier push"), "{}", again.stderr);
        app.answers_when(|answer| answer.body == format!("{words}\n"))?;
        ensure!(app.newest_release()?.0 == before + 1, "released twice");
        ensure!(app.log().matches(&format!("app[release.{}]: {mark}", before + 1)).count() == 1, "{}", app.log());
    } else {
        ensure!(push.stderr.contains("the release phase of") && push.stderr.contains("failed"), "{}", push.stderr);
        ensure!(app.get("/")?.body != format!("{words}\n"), "a failed release serves");
    }
    deploys(instance, app, &format!("after {mark}"))
}
