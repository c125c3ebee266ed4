//! Things die; apps serve on, and everything converges.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::postgres::Postgres;
use landfall_tests::{App, Instance, Options, Run, eventually};

pub(crate) fn down_leaves_nothing_and_up_brings_all_back() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "phoenix")?;
    instance.landfall(&["down"]).ok()?;
    let traces = instance.traces()?;
    ensure!(traces.is_empty(), "{traces:#?}");
    instance.landfall(&["up"]).ok()?;
    app.answers(200)?;
    Ok(())
}

pub(crate) fn killed_processes_cost_no_request() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "stoic")?;
    let dyno = |app: &App<'_>| -> Result<String> { Ok(app.json(&["ps", "--json"])?[0]["id"].as_str().unwrap_or_default().to_owned()) };
    let before = dyno(&app)?;
    for role in ["server", "agent"] {
        instance.kill(role)?;
        for _ in 0..20 {
            ensure!(app.get("/")?.status == 200, "a request failed after {role} was killed");
        }
    }
    instance.api_answers()?;
    instance.kill("router")?;
    app.answers(200).context("the router serves its last table")?;
    eventually(Duration::from_secs(20), || if dyno(&app)? == before { Ok(()) } else { bail!("the dyno was replaced") })?;
    app.get("/after-all-that")?;
    eventually(Duration::from_secs(10), || if app.log().contains("GET /after-all-that") { Ok(()) } else { bail!("{}", app.log()) })?;
    app.landfall(&["config:set", "GREETING=still deploying"]).ok()?;
    app.answers_when(|answer| answer.body == "still deploying\n")?;
    Ok(())
}

pub(crate) fn killed_server_during_a_build() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "halfway")?;
    app.write("bin/pre_compile", "#!/bin/bash\necho build-is-sleeping\nsleep 300\n")?.commit()?;
    let mut push = std::process::Command::new("git");
    push.args(["push", "landfall", "main"]).current_dir(app.dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    instance.environment(&mut push);
    let mut push = push.spawn()?;
    eventually(Duration::from_secs(60), || {
        let builds = app.json(&["builds", "--json"])?;
        if builds[0]["status"] == "pending" { Ok(()) } else { bail!("{builds}") }
    })?;
    instance.kill("server")?;
    ensure!(!push.wait()?.success(), "the push must not look accepted");
    instance.api_answers()?;
    eventually(Duration::from_secs(30), || {
        let builds = app.json(&["builds", "--json"])?;
        if builds[0]["status"] == "failed" { Ok(()) } else { bail!("{builds}") }
    })?;
    ensure!(app.newest_release()?.0 == 2 && app.get("/")?.status == 200);
    std::fs::remove_file(app.dir().join("bin/pre_compile"))?;
    app.write("app.py", HELLO.replace("Hello from Landfall", "second"))?.push()?;
    app.answers_when(|answer| answer.body == "second\n")?;
    Ok(())
}

pub(crate) fn killed_shim_is_replaced() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "orphan")?;
    let run = instance.run_dir().to_string_lossy().into_owned();
    let shims = Run::new("pgrep", &["-f", &format!("landfall-shim.*{run}")]).ok()?.stdout;
    let shim: i32 = shims.lines().next().context("a shim")?.trim().parse()?;
    rustix::process::kill_process(rustix::process::Pid::from_raw(shim).context("a pid")?, rustix::process::Signal::KILL)?;
    eventually(Duration::from_secs(60), || {
        ensure!(!std::path::Path::new(&format!("/proc/{shim}")).exists());
        ensure!(app.get("/")?.status == 200);
        Ok(())
    })
}

pub(crate) fn postgres_restart() -> Result<()> {
    let mut database = Postgres::start()?;
    let instance = Instance::start(&Options { set: vec![("store.url".into(), database.url())], ..Options::default() })?;
    let app = App::hello(&instance, "durable")?;
    database.halt()?;
    ensure!(app.get("/")?.status == 200, "apps do not need the database");
    let refused = app.landfall(&["config:set", "A=1"]).fails()?;
    ensure!(refused.stderr.contains(" ! "), "{}", refused.stderr);
    database.resume()?;
    eventually(Duration::from_secs(30), || app.landfall(&["config:set", "GREETING=back"]).ok())?;
    app.answers_when(|answer| answer.body == "back\n")?;
    drop(app);
    drop(instance);
    Ok(())
}
