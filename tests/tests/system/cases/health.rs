//! Health checks of app.json: who takes requests, and who is replaced.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Instance, Options, eventually};
use serde_json::Value;

/// Answers `/health` and `/live` as the file of that name says (`200` where there is none), and everything else with `WORDS`.
const SERVER: &str = r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = "/tmp" + self.path
        known = self.path in ("/health", "/live")
        first, _, body = ("200 WORDS" if not known else open(name).read() if os.path.exists(name) else FIRST).partition(" ")
        print(f"{self.path} {first} host={self.headers['Host']}", flush=True)
        self.send_response(int(first))
        self.end_headers()
        self.wfile.write((body or "fine").encode() + b"\n")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// Writes the app: its words, what its checks answer at first, and app.json's checks.
fn write(app: &App<'_>, words: &str, first: &str, checks: &str) -> Result<()> {
    let server = SERVER.replace("WORDS", words).replace("FIRST", &format!("{first:?}"));
    app.write("app.py", server)?
        .write("Procfile", "web: python app.py\n")?
        .write("requirements.txt", "")?
        .write("app.json", format!(r#"{{"healthchecks": {{"web": {checks}}}}}"#))?;
    Ok(())
}

/// Makes a check of the running dyno answer this.
fn answer(app: &App<'_>, path: &str, words: &str) -> Result<()> {
    app.landfall(&["ps:exec", "web.1", "--", "sh", "-c", &format!("echo -n '{words}' > /tmp/.new && mv /tmp/.new /tmp{path}")])
        .ok()
        .map(drop)
}

fn dyno(app: &App<'_>) -> Result<Value> {
    let dynos = app.json(&["ps", "--json"])?;
    // One of an older release may still be ending.
    let all = dynos.as_array().into_iter().flatten().filter(|dyno| dyno["state"] == "up");
    let up = all.max_by_key(|dyno| dyno["release"]["version"].as_u64()).cloned();
    up.with_context(|| format!("nothing is up: {dynos}"))
}

pub(crate) fn startup_check_guards_the_switch(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "checked")?;
    let checks = r#"[{"type": "startup", "path": "/health", "content": "fine", "attempts": 2, "wait": 1}]"#;
    write(&app, "one", "200", checks)?;
    let push = app.push()?;
    ensure!(push.stderr.contains("web.1 is up (health check /health passed)"), "{}", push.stderr);
    ensure!(app.get("/")?.body == "one\n");
    ensure!(app.log().contains("/health 200 host=checked.localhost"), "the check comes by the app's own name:\n{}", app.log());

    write(&app, "two", "200 not well", checks)?;
    let push = app.push()?;
    let why = "Startup health check failed: /health: answered 200, but without \"fine\"";
    ensure!(push.stderr.contains(why) && push.stderr.contains("v2 serves on"), "{}", push.stderr);
    ensure!(app.log().contains(why), "{}", app.log());
    ensure!(app.get("/")?.body == "one\n", "the old release serves on");
    Ok(())
}

pub(crate) fn readiness_check_gates_requests(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "gated")?;
    let checks = r#"[{"type": "readiness", "path": "/health", "attempts": 2, "wait": 1}]"#;
    write(&app, "one", "200", checks)?;
    app.push()?;
    ensure!(app.get("/")?.body == "one\n");

    // A release that is not ready yet takes no request; it is not ended either, and takes over when it is ready.
    write(&app, "two", "503", checks)?;
    app.commit()?;
    let mut push = landfall_tests::Pty::start("git", &["push", "landfall", "main"], |command| {
        command.current_dir(app.dir());
        instance.environment(command);
    })?;
    push.shows("Readiness health check failed: /health: answered 503. It takes no requests until that passes")?;
    ensure!(app.get("/")?.body == "one\n", "the old release serves on");
    let new = eventually(Duration::from_secs(20), || {
        let dynos = app.json(&["ps", "--json"])?;
        let new = dynos.as_array().into_iter().flatten().find(|dyno| dyno["release"]["version"] == 3).cloned();
        new.with_context(|| format!("{dynos}"))
    })?;
    ensure!(new["state"] == "starting", "{new}");
    // By its id: the one of that name that is up is the old one.
    let id = new["id"].as_str().context("an id")?;
    app.landfall(&["ps:exec", "--dyno", id, "--", "sh", "-c", "echo -n 200 > /tmp/health"]).ok()?;
    push.shows("web.1 is up (health check /health passed)")?;
    ensure!(push.ends()? == 0, "{}", push.screen());
    app.answers_when(|answer| answer.body == "two\n")?;
    ensure!(dyno(&app)?["id"] == new["id"], "the same dyno that waited");

    // With a second dyno, one that is not ready any more gets nothing, and comes back when it is.
    app.landfall(&["ps:scale", "web=2"]).ok()?;
    eventually(Duration::from_secs(40), || {
        if app.log().contains("heroku[web.2]: State changed from starting to crashed") {
            bail!("{}", app.log())
        }
        Ok(())
    })?;
    answer(&app, "/health", "503")?;
    let said = |words: &str| {
        eventually(Duration::from_secs(20), || if app.log().contains(words) { Ok(()) } else { bail!("no {words:?} in\n{}", app.log()) })
    };
    said("heroku[web.1]: Readiness health check failed: /health: answered 503")?;
    answer(&app, "/health", "200")?;
    said("heroku[web.1]: Readiness health check passed: /health")?;
    ensure!(app.get("/")?.status == 200);
    Ok(())
}

pub(crate) fn liveness_check_replaces_the_sick(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "mortal")?;
    write(&app, "alive", "200", r#"[{"type": "liveness", "path": "/live", "attempts": 2, "wait": 1}]"#)?;
    app.push()?;
    let before = dyno(&app)?;
    answer(&app, "/live", "500")?;
    eventually(Duration::from_secs(30), || {
        let now = dyno(&app)?;
        if now["id"] == before["id"] {
            bail!("still the sick one\n{}", app.log())
        }
        Ok(())
    })?;
    app.answers(200)?;
    let log = app.log();
    ensure!(log.contains("Liveness health check failed: /live: answered 500"), "{log}");
    ensure!(log.contains("Stopping all processes with SIGTERM"), "{log}");
    ensure!(app.newest_release()?.0 == 2, "no release was made");
    Ok(())
}

/// A server that is new to a dyno takes nothing from it: that it once passed its first checks is known.
pub(crate) fn a_new_server_asks_no_first_check_again() -> Result<()> {
    let app_checks = r#"[{"type": "startup", "path": "/health", "attempts": 1}, {"type": "readiness", "path": "/live", "wait": 300}]"#;
    let instance = Instance::start(&Options::default())?;
    let app = App::create(&instance, "trusted")?;
    write(&app, "trusted", "200", app_checks)?;
    app.push()?;
    let before = dyno(&app)?;
    answer(&app, "/health", "503")?;
    instance.kill("server")?;
    instance.api_answers()?;
    let begun = std::time::Instant::now();
    let after = eventually(Duration::from_secs(20), || dyno(&app))?;
    ensure!(after["id"] == before["id"] && after["created_at"] == before["created_at"], "{before}\n{after}");
    // Long enough for a check that fails at its first try to have been asked.
    while begun.elapsed() < Duration::from_secs(3) {
        let answer = app.get("/")?;
        ensure!(answer.status == 200 && answer.body == "trusted\n", "{answer:?}");
    }
    ensure!(dyno(&app)?["id"] == before["id"] && !app.log().contains("Startup health check failed"), "{}", app.log());
    Ok(())
}

pub(crate) fn unknown_checks_are_left_out_and_named(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "unchecked")?;
    write(&app, "served", "200", r#"[{"type": "startup", "command": ["/bin/false"]}, {"type": "startup", "uptime": 30}]"#)?;
    let push = app.push()?;
    ensure!(push.stderr.contains("healthchecks.web[0] is left out, because Landfall knows no checks with \"command\""), "{}", push.stderr);
    ensure!(push.stderr.contains("healthchecks.web[1] is left out, because Landfall knows no checks with \"uptime\""), "{}", push.stderr);
    ensure!(app.get("/")?.body == "served\n");
    Ok(())
}
