//! Running an app day by day.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Instance, eventually, http};
use serde_json::Value;

/// Names of the dynos that are up.
fn up(app: &App<'_>) -> Result<Vec<String>> {
    let dynos = app.json(&["ps", "--json"])?;
    let mut names: Vec<String> = dynos
        .as_array()
        .into_iter()
        .flatten()
        .filter(|dyno| dyno["state"] == "up")
        .filter_map(|dyno| dyno["name"].as_str())
        .map(str::to_owned)
        .collect();
    names.sort();
    Ok(names)
}

fn wait_up(app: &App<'_>, wanted: &[&str]) -> Result<()> {
    eventually(Duration::from_mins(1), || {
        let names = up(app)?;
        if names == wanted { Ok(()) } else { bail!("up are {names:?}, wanted {wanted:?}\n{}", app.log()) }
    })
}

pub(crate) fn scale_restart_stop(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "scaled")?;
    app.write("Procfile", "web: python app.py\nworker: sleep 1000\n")?.push()?;
    app.landfall(&["ps:scale", "web=2", "worker=1"]).ok()?;
    wait_up(&app, &["web.1", "web.2", "worker.1"])?;
    app.landfall(&["ps:type", "web=standard-2x"]).ok()?;
    eventually(Duration::from_mins(1), || {
        let dynos = app.json(&["ps", "--json"])?;
        let sizes: Vec<&Value> = dynos
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dyno| dyno["type"] == "web" && dyno["state"] == "up")
            .map(|dyno| &dyno["size"])
            .collect();
        ensure!(sizes.len() == 2 && sizes.iter().all(|size| **size == "Standard-2X"), "{sizes:?}");
        Ok(())
    })?;
    let id = |name: &str| -> Result<String> {
        let dynos = app.json(&["ps", "--json"])?;
        let dyno = dynos
            .as_array()
            .into_iter()
            .flatten()
            .find(|dyno| dyno["name"] == name && dyno["state"] == "up")
            .with_context(|| format!("{name} is not up"))?;
        Ok(dyno["id"].as_str().unwrap_or_default().to_owned())
    };
    let before = id("worker.1")?;
    app.landfall(&["ps:restart", "worker.1"]).ok()?;
    eventually(Duration::from_mins(1), || if id("worker.1")? == before { bail!("still the old one") } else { Ok(()) })?;
    app.landfall(&["ps:scale", "web=1", "worker-1"]).ok()?;
    wait_up(&app, &["web.1"])
}

pub(crate) fn logs_show_app_and_router(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "talkative")?;
    app.get("/seen")?;
    eventually(Duration::from_secs(10), || {
        let log = app.log();
        for wanted in [
            "app[web.1]: listening on",
            "app[web.1]: GET /seen",
            "heroku[router]: at=info method=GET path=\"/seen\"",
            "State changed from starting to up",
        ] {
            ensure!(log.contains(wanted), "{wanted:?} is not in\n{log}");
        }
        Ok(())
    })?;
    let only_app = app.landfall(&["logs", "--source", "app", "--dyno", "web.1"]).ok()?.stdout;
    ensure!(only_app.contains("app[web.1]") && !only_app.contains("[router]"), "{only_app}");
    ensure!(app.landfall(&["logs", "-n", "1"]).ok()?.stdout.lines().count() == 1);
    Ok(())
}

pub(crate) fn run_gives_output_input_and_exit_code(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "runner")?;
    app.landfall(&["config:set", "GREETING=from config"]).ok()?;
    let done = app.landfall(&["run", "python -c \"import os; print(os.environ['GREETING'])\""]).ok()?;
    ensure!(done.stdout == "from config\n", "{done:?}");
    let done = app.landfall(&["run", "exit 7"]).done()?;
    ensure!(done.code == 7, "{done:?}");
    let done = app.landfall(&["run", "tr a-z A-Z"]).input("piped in\n").ok()?;
    ensure!(done.stdout == "PIPED IN\n", "{done:?}");
    let done = app.landfall(&["run", "echo out; echo err >&2"]).ok()?;
    ensure!(done.stdout == "out\n" && done.stderr.contains("err"), "{done:?}");
    let id = app
        .landfall(&["run", "id -u; test -w / && echo root-writable; cat /proc/self/status | grep -c 'CapEff:.0000000000000000'"])
        .ok()?;
    ensure!(id.stdout.starts_with("1000\n") && id.stdout.ends_with("1\n"), "{id:?}");
    let detached = app.landfall(&["run:detached", "echo detached was here"]).ok()?;
    ensure!(detached.stdout.contains("run."), "{detached:?}");
    eventually(Duration::from_secs(20), || if app.log().contains("detached was here") { Ok(()) } else { bail!("{}", app.log()) })
}

pub(crate) fn exec_in_a_dyno(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "inside")?;
    let done = app.landfall(&["ps:exec", "--", "cat", "/proc/1/comm"]).ok()?;
    ensure!(!done.stdout.trim().is_empty(), "{done:?}");
    ensure!(app.landfall(&["ps:exec", "web.1", "echo", "by name"]).ok()?.stdout == "by name\n");
    let done = app.landfall(&["ps:exec", "--dyno", "web.9", "--", "true"]).fails()?;
    ensure!(done.stderr.contains(" ! "), "{done:?}");
    Ok(())
}

pub(crate) fn domains_and_maintenance(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "named")?;
    app.landfall(&["domains:add", "www.named-example.com"]).ok()?;
    eventually(Duration::from_secs(10), || {
        let answer = http::get(instance.router, "www.named-example.com", "/")?;
        if answer.status == 200 { Ok(()) } else { bail!("{answer:?}") }
    })?;
    let other = App::create(instance, "envious")?;
    other.landfall(&["domains:add", "www.named-example.com"]).fails()?;
    for bad in ["named.localhost", "10.0.0.1", "no_underscores.example.com", "x"] {
        other.landfall(&["domains:add", bad]).fails()?;
    }
    app.landfall(&["domains:remove", "www.named-example.com"]).ok()?;
    eventually(Duration::from_secs(10), || {
        let answer = http::get(instance.router, "www.named-example.com", "/")?;
        if answer.status == 404 { Ok(()) } else { bail!("{answer:?}") }
    })?;
    app.landfall(&["maintenance:on"]).ok()?;
    app.answers(503)?;
    app.landfall(&["maintenance:off"]).ok()?;
    app.answers(200)?;
    Ok(())
}

pub(crate) fn listings_as_json(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "listed")?;
    for listing in [
        &["apps"][..],
        &["apps:info"],
        &["config"],
        &["releases"],
        &["releases:info", "v2"],
        &["ps"],
        &["ps:scale"],
        &["domains"],
        &["keys"],
        &["builds"],
        &["builds:info"],
        &["stacks"],
    ] {
        let mut args = listing.to_vec();
        args.push("--json");
        app.json(&args).with_context(|| format!("{listing:?}"))?;
        app.landfall(listing).ok()?;
    }
    // From where there is no agent: another machine, as far as this command can tell.
    let elsewhere = ["stacks", "--json", "--config", "/nonexistent/landfall.toml", "--api", &format!("http://{}", instance.api)];
    let stacks = app.json(&elsewhere)?;
    ensure!(stacks[0]["name"] == "landfall-13" && stacks[0]["default"] == true, "{stacks}");
    Ok(())
}

pub(crate) fn destroyed_apps_leave_nothing(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "ephemeral")?;
    let id = app.json(&["apps:info", "--json"])?["id"].as_str().context("an id")?.to_owned();
    let data = instance.data_dir();
    ensure!(data.join("git").join(format!("{id}.git")).exists() && data.join("logs").join(&id).exists());
    drop(app);
    eventually(Duration::from_mins(1), || {
        for path in [data.join("git").join(format!("{id}.git")), data.join("logs").join(&id)] {
            ensure!(!path.exists(), "{} is still there", path.display());
        }
        let answer = http::get(instance.router, "ephemeral.localhost", "/")?;
        ensure!(answer.status == 404, "{answer:?}");
        Ok(())
    })
}
