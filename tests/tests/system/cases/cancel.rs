//! Builds that are broken off: at the pusher's terminal, or from another one. Nothing of them stays, and the next push works.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Options, Pty, Run, eventually};

/// A key that may push, and the environment that makes ssh use it.
fn ssh_key(app: &App<'_>, dir: &Path) -> Result<String> {
    let key = dir.join("id").to_string_lossy().into_owned();
    Run::new("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "cancel@test", "-f", &key]).ok()?;
    app.landfall(&["keys:add", &format!("{key}.pub")]).ok()?;
    Ok(format!("ssh -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"))
}

/// Everything on the machine that belongs to the instance, without the numbers that differ from process to process.
fn before(instance: &Instance) -> Result<BTreeSet<String>> {
    instance.holdings()
}

fn nothing_is_left(instance: &Instance, before: &BTreeSet<String>) -> Result<()> {
    eventually(Duration::from_secs(30), || {
        let now = instance.holdings()?;
        let more: Vec<&String> = now.difference(before).collect();
        if more.is_empty() { Ok(()) } else { bail!("left behind: {more:#?}") }
    })
}

/// A build that says that it runs, with processes of all kinds, and then takes its time.
const SLOW: &str = "#!/bin/bash\n(trap '' TERM INT HUP; sleep 301) &\nsetsid sleep 302 &\necho build-is-sleeping\nsleep 303\n";

fn is_building(instance: &Instance, before: &BTreeSet<String>) -> Result<()> {
    let now = instance.holdings()?;
    for kind in ["process", "cgroup", "folder"] {
        ensure!(now.difference(before).any(|one| one.starts_with(kind)), "no {kind} of a running build among {now:#?}");
    }
    Ok(())
}

fn ended_as_cancelled(app: &App<'_>, releases: u64) -> Result<()> {
    eventually(Duration::from_secs(20), || {
        let builds = app.json(&["builds", "--json"])?;
        if builds[0]["status"] == "pending" {
            bail!("{builds}")
        }
        Ok(())
    })?;
    let newest = app.json(&["builds:info", "--json"])?;
    ensure!(newest["status"] == "failed" && newest["failure"] == "the build was cancelled", "{newest}");
    let log = app.landfall(&["builds:info"]).ok()?.stdout;
    ensure!(log.contains("build-is-sleeping") && log.contains("Build cancelled. Nothing was released"), "{log}");
    ensure!(app.newest_release()?.0 == releases && app.get("/")?.status == 200, "what ran runs on");
    Ok(())
}

fn next_push_works(app: &App<'_>, words: &str) -> Result<()> {
    std::fs::remove_file(app.dir().join("bin/pre_compile"))?;
    app.write("app.py", HELLO.replace("Hello from Landfall", words))?.push()?;
    app.answers_when(|answer| answer.body == format!("{words}\n"))?;
    Ok(())
}

pub(crate) fn ctrl_c_and_builds_cancel() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "broken-off")?;
    let keys = tempfile::TempDir::new()?;
    let ssh = ssh_key(&app, keys.path())?;
    let over_ssh = format!("ssh://git@{}/broken-off.git", instance.ssh);
    let push = |remote: &str| {
        Pty::start("git", &["push", remote, "main"], |command| {
            command.current_dir(app.dir());
            instance.environment(command);
            command.env("GIT_SSH_COMMAND", &ssh);
        })
    };
    let mut releases = 2;
    for remote in ["landfall", over_ssh.as_str()] {
        let before = before(&instance)?;
        app.write("bin/pre_compile", SLOW)?.commit()?;
        let mut pushing = push(remote)?;
        pushing.shows("build-is-sleeping")?;
        is_building(&instance, &before)?;
        pushing.types("\x03")?;
        ensure!(pushing.ends()? != 0, "an interrupted push is not accepted");
        nothing_is_left(&instance, &before).with_context(|| format!("Ctrl-C over {remote}"))?;
        ended_as_cancelled(&app, releases)?;
        next_push_works(&app, &format!("after {releases}"))?;
        releases += 1;
    }

    // From another terminal: the pusher is told.
    let before = before(&instance)?;
    app.write("bin/pre_compile", SLOW)?.commit()?;
    let mut pushing = push("landfall")?;
    pushing.shows("build-is-sleeping")?;
    is_building(&instance, &before)?;
    let said = app.landfall(&["builds:cancel"]).ok()?.stdout;
    ensure!(said.contains("Cancelled build"), "{said}");
    ensure!(pushing.ends()? != 0);
    ensure!(pushing.screen().contains("Build cancelled. Nothing was released; push again when you like."), "{}", pushing.screen());
    ensure!(pushing.screen().contains("pre-receive hook declined"), "{}", pushing.screen());
    nothing_is_left(&instance, &before).context("builds:cancel")?;
    ended_as_cancelled(&app, releases)?;
    let again = app.landfall(&["builds:cancel"]).fails()?;
    ensure!(again.stderr.contains("has ended already") && again.stderr.contains("landfall "), "{}", again.stderr);
    next_push_works(&app, "after all")
}

pub(crate) fn leaving_after_the_release_keeps_it() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::create(&instance, "left-early")?;
    app.write("app.py", format!("import time\nprint('it boots', flush=True)\ntime.sleep(4)\n{HELLO}"))?
        .write("Procfile", "web: python app.py\n")?
        .write("requirements.txt", "")?
        .commit()?;
    let mut pushing = Pty::start("git", &["push", "landfall", "main"], |command| {
        command.current_dir(app.dir());
        instance.environment(command);
    })?;
    pushing.shows("Released v2")?;
    pushing.types("\x03")?;
    ensure!(pushing.ends()? != 0);
    // The build is done and the release is made: it comes up, and git knows of it.
    ensure!(app.answers(200)?.body == "Hello from Landfall\n");
    let head = app.git(&["rev-parse", "HEAD"]).ok()?.stdout;
    eventually(Duration::from_secs(20), || {
        let there = app.git(&["ls-remote", "landfall", "refs/heads/main"]).ok()?.stdout;
        if there.starts_with(head.trim()) { Ok(()) } else { bail!("main is at {there:?}") }
    })?;
    ensure!(app.git(&["push", "landfall", "main"]).ok()?.stderr.contains("Everything up-to-date"));
    ensure!(app.newest_release()? == (2, "succeeded".into()));
    Ok(())
}

pub(crate) fn ctrl_c_while_waiting_for_a_turn() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::create(&instance, "impatient")?;
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?;
    app.write("bin/pre_compile", "#!/bin/bash\necho first-is-building\nsleep 6\n")?.commit()?;
    let push = || {
        Pty::start("git", &["push", "landfall", "main"], |command| {
            command.current_dir(app.dir());
            instance.environment(command);
        })
    };
    let mut first = push()?;
    first.shows("first-is-building")?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "never"))?.commit()?;
    let mut second = push()?;
    second.shows("Waiting: ")?;
    second.types("\x03")?;
    ensure!(second.ends()? != 0);
    ensure!(first.ends()? == 0, "the other push is not touched: {}", first.screen());
    ensure!(app.answers(200)?.body == "Hello from Landfall\n");
    ensure!(app.json(&["builds", "--json"])?.as_array().map(Vec::len) == Some(1), "who never had a turn built nothing");
    app.push()?;
    app.answers_when(|answer| answer.body == "never\n")?;
    Ok(())
}
