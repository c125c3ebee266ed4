//! app.json's postdeploy script: once in an app's life, when its first deploy is live.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Options, Pty, eventually};

fn write(app: &App<'_>, script: &str) -> Result<()> {
    let app_json = serde_json::json!({ "env": { "GREETING": "hello there" }, "scripts": { "postdeploy": script } });
    app.write("app.py", HELLO)?
        .write("Procfile", "web: python app.py\n")?
        .write("requirements.txt", "")?
        .write("app.json", app_json.to_string())?;
    Ok(())
}

fn log_says(app: &App<'_>, words: &str) -> Result<()> {
    eventually(Duration::from_secs(20), || if app.log().contains(words) { Ok(()) } else { bail!("no {words:?} in\n{}", app.log()) })
}

pub(crate) fn runs_once_after_the_first_deploy(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "seeded")?;
    // The first try does not build, and so is no first deploy.
    write(&app, "echo seeding with $GREETING as $DYNO; echo to stderr >&2")?;
    app.write("requirements.txt", "six==999.0\n")?.push_refused()?;
    app.write("requirements.txt", "")?;
    let push = app.push()?;
    let says = &push.stderr;
    for words in ["Running the postdeploy script: echo seeding", "seeding with hello there as postdeploy.3", "to stderr"] {
        ensure!(says.contains(words), "no {words:?} in\n{says}");
    }
    ensure!(says.find("deployed to Landfall") < says.find("seeding with hello"), "it runs once the release is live:\n{says}");
    log_says(&app, "app[postdeploy.3]: seeding with hello there as postdeploy.3")?;
    log_says(&app, "heroku[postdeploy.3]: Process exited with status 0")?;
    ensure!(app.landfall(&["builds:info"]).ok()?.stdout.contains("seeding with hello there"), "it is kept with the build");
    let left = || -> Result<usize> { Ok(app.json(&["ps", "--json"])?.as_array().map_or(0, Vec::len)) };
    eventually(Duration::from_secs(20), || if left()? == 1 { Ok(()) } else { bail!("its dyno is still there") })?;

    // Never again: not for a new build, a config change, a rollback, or another script.
    app.landfall(&["config:set", "A=1"]).ok()?;
    write(&app, "echo another script")?;
    let push = app.push()?;
    ensure!(!push.stderr.contains("Running the postdeploy script"), "{}", push.stderr);
    ensure!(push.stderr.contains("landfall run --app seeded -- 'echo another script'"), "it is told how to run it:\n{}", push.stderr);
    let push = app.push()?;
    ensure!(!push.stderr.contains("another script"), "told once:\n{}", push.stderr);
    app.landfall(&["rollback", "v3"]).ok()?;
    app.answers_when(|answer| answer.body == "hello there\n")?;
    ensure!(app.log().matches("seeding with").count() == 2, "the command's line and its output, once each:\n{}", app.log());
    Ok(())
}

pub(crate) fn its_failure_undoes_nothing(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "unseeded")?;
    write(&app, "echo trying; exit 3")?;
    let push = app.push()?;
    ensure!(push.stderr.contains("The postdeploy script of app.json failed: it ended with status 3."), "{}", push.stderr);
    ensure!(push.stderr.contains("v3 is live and stays so. The script is not run again by itself"), "{}", push.stderr);
    ensure!(push.stderr.contains("landfall run --app unseeded -- 'echo trying; exit 3'"), "{}", push.stderr);
    ensure!(app.answers(200)?.body == "hello there\n");
    ensure!(app.newest_release()? == (3, "succeeded".into()));
    log_says(&app, "heroku[postdeploy.3]: The postdeploy script of app.json failed: it ended with status 3.")?;
    let push = app.push()?;
    ensure!(!push.stderr.contains("trying"), "{}", push.stderr);
    Ok(())
}

pub(crate) fn survives_a_killed_server_and_never_runs_twice() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let push = |app: &App<'_>| {
        app.commit()?;
        Pty::start("git", &["push", "landfall", "main"], |command| {
            command.current_dir(app.dir());
            instance.environment(command);
        })
    };
    // The server dies: the script runs on, and its end is seen by the next one.
    let app = App::create(&instance, "outlived")?;
    write(&app, "echo it began; sleep 5; echo it ended; exit 4")?;
    let pushing = push(&app)?;
    pushing.shows("it began")?;
    instance.kill("server")?;
    instance.api_answers()?;
    log_says(&app, "app[postdeploy.3]: it ended")?;
    log_says(&app, "heroku[postdeploy.3]: The postdeploy script of app.json failed: it ended with status 4.")?;
    ensure!(app.log().matches("app[postdeploy.3]: it began").count() == 1, "{}", app.log());

    // Everything goes down: nobody knows how far it came, so nobody runs it again.
    let other = App::create(&instance, "cut-off")?;
    write(&other, "echo it began; sleep 600")?;
    let pushing = push(&other)?;
    pushing.shows("it began")?;
    instance.landfall(&["down"]).ok()?;
    instance.landfall(&["up"]).ok()?;
    other.answers(200)?;
    log_says(&other, "heroku[postdeploy.3]: The postdeploy script of app.json did not run to its end.")?;
    log_says(&other, "run it when you like: landfall run --app cut-off -- COMMAND")?;
    write(&other, "echo it began; sleep 600")?;
    other.push()?;
    ensure!(other.log().matches("app[postdeploy.3]: it began").count() == 1, "{}", other.log());
    Ok(())
}

/// The server dies around the moment in which the script is written down as begun: before it, the script runs; after it, its owner is asked.
pub(crate) fn is_begun_once_or_never() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    for (name, point, runs) in [("before", "server.first-deploy.before", 1), ("after", "server.first-deploy.recorded", 0)] {
        let app = App::create(&instance, name)?;
        app.write("app.py", HELLO)?
            .write("Procfile", "web: python app.py\n")?
            .write("requirements.txt", "")?
            .write("app.json", r#"{"scripts": {"postdeploy": "echo it ran"}}"#)?
            .commit()?;
        instance.arm(point, 1, &[])?;
        app.git(&["push", "landfall", "main"]).within(Duration::from_secs(100)).done()?;
        eventually(Duration::from_mins(1), || if instance.died_at(point) { Ok(()) } else { bail!("nobody died at {point}") })?;
        instance.api_answers()?;
        app.answers(200)?;
        match runs {
            0 => log_says(&app, "The postdeploy script of app.json did not run to its end.")?,
            _ => log_says(&app, "heroku[postdeploy.2]: Process exited with status 0")?,
        }
        app.git(&["push", "landfall", "main"]).within(Duration::from_secs(100)).done()?;
        app.write("app.py", HELLO.replace("Hello from Landfall", "again"))?.push()?;
        app.answers_when(|answer| answer.body == "again\n")?;
        ensure!(app.log().matches("app[postdeploy.2]: it ran").count() == runs, "{}", app.log());
    }
    Ok(())
}
