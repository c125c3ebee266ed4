//! Pushing, releasing, switching.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Run, eventually, http};

pub(crate) fn push_then_config_then_rollback(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "road")?;
    ensure!(app.newest_release()? == (1, "succeeded".into()), "an app starts with v1");
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?;
    let push = app.push()?;
    ensure!(push.stderr.contains("remote: -----> "), "build output comes as remote lines:\n{}", push.stderr);
    ensure!(app.answers(200)?.body == "Hello from Landfall\n");
    ensure!(app.newest_release()?.0 == 2);

    app.landfall(&["config:set", "GREETING=hi"]).ok()?;
    app.answers_when(|answer| answer.body == "hi\n")?;
    ensure!(app.newest_release()?.0 == 3);

    app.landfall(&["rollback", "v2"]).ok()?;
    app.answers_when(|answer| answer.body == "Hello from Landfall\n")?;
    ensure!(app.newest_release()?.0 == 4);
    ensure!(app.landfall(&["config"]).ok()?.stdout.matches("GREETING").count() == 0, "a rollback takes the old config with it");
    let list = app.landfall(&["releases"]).ok()?.stdout;
    ensure!(list.contains("Rollback to v2") && list.contains("current"), "{list}");
    Ok(())
}

pub(crate) fn no_request_fails_during_deploys(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "steady")?;
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = std::thread::scope(|scope| -> Result<Vec<String>> {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        sent.fetch_add(1, Ordering::Relaxed);
                        match app.get("/") {
                            Ok(answer) if answer.status == 200 => {}
                            other => failures.push(format!("{other:?}")),
                        }
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    failures
                })
            })
            .collect();
        let deploys = (0..3).try_for_each(|round| {
            app.landfall(&["config:set", &format!("GREETING=round {round}")]).ok()?;
            app.answers_when(|answer| answer.body == format!("round {round}\n")).map(drop)
        });
        stop.store(true, Ordering::Relaxed);
        let failures = clients.into_iter().flat_map(|client| client.join().unwrap_or_else(|_| vec!["a client panicked".into()])).collect();
        deploys.map(|()| failures)
    })?;
    ensure!(failures.is_empty(), "{} of {} requests failed: {:?}", failures.len(), sent.load(Ordering::Relaxed), failures.first());
    Ok(())
}

pub(crate) fn release_phase_guards_the_switch(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "guarded")?;
    app.write("Procfile", "web: python app.py\nrelease: echo migrating && test -z \"$BREAK\"\n")?;
    let push = app.push()?;
    ensure!(push.stderr.contains("migrating"), "the release phase is shown:\n{}", push.stderr);
    app.answers(200)?;

    app.landfall(&["config:set", "BREAK=1", "GREETING=broken"]).ok()?;
    let (version, _) = app.newest_release()?;
    eventually(Duration::from_secs(30), || {
        let (_, status) = app.newest_release()?;
        ensure!(status == "failed", "v{version} is {status}");
        Ok(())
    })?;
    ensure!(app.get("/")?.body == "Hello from Landfall\n", "the old release serves on");
    ensure!(app.landfall(&["releases:output", &format!("v{version}")]).ok()?.stdout.contains("migrating"));
    app.landfall(&["rollback", &format!("v{version}")]).fails()?;
    Ok(())
}

pub(crate) fn app_that_never_boots_never_takes_traffic(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "sleepy")?;
    app.write("Procfile", "web: python -c 'import sys; sys.exit(3)'\n")?;
    app.commit()?;
    let push = app.git(&["push", "landfall", "main"]).within(Duration::from_secs(200)).done()?;
    ensure!(push.stderr.contains("status 3") || push.stderr.contains("exited"), "the push says why:\n{}", push.stderr);
    ensure!(app.get("/")?.status == 200, "the old release serves on");
    ensure!(app.log().contains("Process exited with status 3"), "{}", app.log());
    Ok(())
}

pub(crate) fn other_branches_are_stored_not_built(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "branchy")?;
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.commit()?;
    let push = app.git(&["push", "landfall", "main:feature"]).ok()?;
    ensure!(push.stderr.contains("main") && push.stderr.contains("feature"), "{}", push.stderr);
    ensure!(app.newest_release()?.0 == 1, "nothing was built");
    ensure!(app.git(&["ls-remote", "landfall"]).ok()?.stdout.contains("refs/heads/feature"));
    Ok(())
}

pub(crate) fn push_over_ssh(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "keyed")?;
    app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?.commit()?;
    let keys = tempfile::TempDir::new()?;
    let key = keys.path().join("id").to_string_lossy().into_owned();
    Run::new("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "keyed@test", "-f", &key]).ok()?;
    let url = format!("ssh://git@{}/keyed.git", instance.ssh);
    let push = || {
        let ssh = format!("ssh -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null");
        app.git(&["push", &url, "main"]).within(Duration::from_secs(200)).with(|command| {
            command.env("GIT_SSH_COMMAND", ssh);
        })
    };
    push().fails().context("an unknown key must be refused")?;
    app.landfall(&["keys:add", &format!("{key}.pub")]).ok()?;
    push().ok()?;
    app.answers(200)?;
    app.landfall(&["keys:remove", "keyed@test"]).ok()?;
    push().fails().context("a removed key must be refused")?;
    Ok(())
}

pub(crate) fn static_site(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "pages")?;
    app.write("index.html", "<h1>static</h1>")?.write("css/site.css", "h1{}")?;
    app.push()?;
    ensure!(app.answers(200)?.body == "<h1>static</h1>");
    let css = http::get(instance.router, "pages.localhost", "/css/site.css")?;
    ensure!(css.status == 200 && css.head.to_lowercase().contains("text/css"), "{css:?}");
    ensure!(http::get(instance.router, "pages.localhost", "/../../etc/passwd")?.status != 200);
    Ok(())
}

pub(crate) fn node_app(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "noder")?;
    app.write("package.json", r#"{"name":"noder","version":"1.0.0","private":true,"engines":{"node":"22.x"},"scripts":{"start":"node server.js"},"dependencies":{"is-number":"7.0.0"}}"#)?;
    app.write("server.js", "const n = require('is-number');\nrequire('http').createServer((q, r) => r.end(`node ${process.version} ${n(5)}\\n`)).listen(process.env.PORT);\n")?;
    app.push()?;
    let answer = app.answers(200)?;
    ensure!(answer.body.starts_with("node v22.") && answer.body.ends_with("true\n"), "{answer:?}");
    Ok(())
}
