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
    // As after a purge: root's login is one of a Landfall that is gone.
    let login = instance.credentials();
    let stale: Vec<String> = std::fs::read_to_string(&login)?
        .lines()
        .map(|line| if line.starts_with("token") { "token = \"HRKU-of-before\"".into() } else { line.into() })
        .collect();
    std::fs::write(&login, stale.join("\n"))?;
    instance.landfall(&["up"]).ok()?;
    app.answers(200)?;
    ensure!(instance.landfall(&["whoami"]).ok()?.stdout.contains("admin@localhost"));
    Ok(())
}

/// What it kept serves on; the next `up` puts another in its place. Two at once are one.
pub(crate) fn a_killed_supervisor_is_followed_by_another() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let app = App::hello(&instance, "orphan")?;
    let dyno = app.json(&["ps", "--json"])?[0]["id"].clone();
    let kept = || ["agent", "router", "server"].into_iter().map(|role| instance.pid(role)).collect::<Result<Vec<_>>>();
    let before = kept()?;
    let supervisor = rustix::process::Pid::from_raw(instance.pid("supervisor")?).context("a pid")?;
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL)?;
    app.answers(200)?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| instance.landfall(&["up"]).ok());
        instance.landfall(&["up"]).ok()?;
        other.join().map_err(|_| anyhow::anyhow!("the other up failed"))?
    })?;
    let after = kept()?;
    ensure!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
    app.answers(200)?;
    ensure!(app.json(&["ps", "--json"])?[0]["id"] == dyno);
    instance.kill("server")?;
    instance.api_answers()
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
    for _ in 0..4 {
        instance.kill("router")?;
        // Started, but hardly there: the request waits for it.
        let answer = app.get("/").context("no connection is refused while there is no router")?;
        ensure!(answer.status == 200, "the router serves its last table: {answer:?}");
    }
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
    eventually(Duration::from_mins(1), || {
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
    eventually(Duration::from_mins(1), || {
        ensure!(!std::path::Path::new(&format!("/proc/{shim}")).exists());
        ensure!(app.get("/")?.status == 200);
        Ok(())
    })
}

/// The disk gives back something else than was written to it: nothing is started from that, what runs runs on, and a push heals it (R17).
pub(crate) fn a_damaged_layer_is_never_started(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "rotten")?;
    let layers = std::fs::read_dir(instance.data_dir().join("agent/images/layers"))?.flatten();
    let program = layers.map(|layer| layer.path().join("fs/app/app.py")).find(|program| program.exists()).context("the app's own layer")?;
    let text = std::fs::read_to_string(&program)?;
    ensure!(app.landfall(&["run", "true"]).ok()?.stdout.is_empty(), "a look at it just before");
    std::fs::write(&program, text.replace("Hello", "HELLO"))?;
    let run = app.landfall(&["run", "true"]).fails()?;
    ensure!(run.all().contains("damaged"), "{}", run.all());

    app.landfall(&["ps:restart"]).ok()?;
    let told = "Error R17 (Checksum error) -> the dyno was not started: a layer of its image is damaged on disk. Expected: sha256:";
    eventually(Duration::from_secs(30), || {
        let log = app.log();
        if log.contains(told) { Ok(()) } else { bail!("{log}") }
    })?;
    ensure!(app.get("/")?.status == 200, "what runs serves on");

    ensure!(instance.landfall(&["doctor"]).done()?.stdout.contains("damaged on disk, and not started from any more: sha256:"));

    app.push()?;
    eventually(Duration::from_secs(30), || {
        let dynos = app.json(&["ps", "--json"])?;
        if dynos[0]["state"] == "up" && dynos[0]["release"]["version"] == 3 { Ok(()) } else { bail!("{dynos}\n{}", app.log()) }
    })?;
    ensure!(app.get("/")?.body == "Hello from Landfall\n");
    ensure!(std::fs::read_to_string(&program)? == text, "the layer was made again");
    Ok(())
}

pub(crate) fn postgres_restart() -> Result<()> {
    let mut database = Postgres::start()?;
    let instance = Instance::start(&Options { set: vec![("store.url".into(), database.url())], ..Options::default() })?;
    let app = App::hello(&instance, "durable")?;
    a_request_that_hangs_in_the_database_is_answered(&mut database, &instance, &app)?;
    ensure!(app.get("/")?.status == 200, "apps do not need the database");
    let refused = app.landfall(&["config:set", "A=1"]).fails()?;
    ensure!(refused.stderr.contains("database does not answer") && refused.stderr.contains("landfall doctor"), "{}", refused.stderr);
    let refused = app.git(&["push", "landfall", "main:again"]).fails()?;
    ensure!(refused.stderr.contains("cannot reach its database now"), "{}", refused.stderr);
    database.resume()?;
    nothing_acknowledged_is_lost(&mut database, &instance, &app)?;
    eventually(Duration::from_secs(30), || app.landfall(&["config:set", "GREETING=back"]).ok())?;
    app.answers_when(|answer| answer.body == "back\n")?;
    app.push().context("a push works")?;
    drop(app);
    drop(instance);
    Ok(())
}

/// The database dies while a request waits in it: the request is answered, soon, with what happened.
fn a_request_that_hangs_in_the_database_is_answered(database: &mut Postgres, instance: &Instance, app: &App<'_>) -> Result<()> {
    std::thread::scope(|scope| {
        let locks = database.sql("BEGIN; LOCK TABLE apps IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)");
        let locks = scope.spawn(move || locks.done());
        let held = "SELECT count(*) FROM pg_locks WHERE relation = 'apps'::regclass AND mode = 'AccessExclusiveLock' AND granted";
        eventually(
            Duration::from_secs(20),
            || if database.sql(held).ok()?.stdout.trim() == "1" { Ok(()) } else { bail!("not locked yet") },
        )?;
        let asked = scope.spawn(|| {
            let begun = std::time::Instant::now();
            let answer = instance.api_request("PATCH", "/apps/durable/config-vars", r#"{"MIDWAY":"1"}"#);
            answer.map(|answer| (answer, begun.elapsed()))
        });
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        eventually(Duration::from_secs(20), || {
            if database.sql(waits).ok()?.stdout.trim() == "0" {
                bail!("nobody waits yet")
            }
            Ok(())
        })?;
        database.halt()?;
        let (answer, took) = asked.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
        ensure!(answer.status == 503 && answer.body.contains("The database does not answer"), "{answer:?}");
        ensure!(took < Duration::from_secs(30), "it took {took:?}");
        let _ = locks.join();
        ensure!(app.get("/")?.status == 200);
        Ok(())
    })
}

/// Config changes go on while the database is cut off and comes back: each is answered, and what was answered with 200 is there.
fn nothing_acknowledged_is_lost(database: &mut Postgres, instance: &Instance, app: &App<'_>) -> Result<()> {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    eventually(Duration::from_secs(30), || app.landfall(&["config:set", "BEFORE=1"]).ok())?;
    let (stop, kept, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let answers: Vec<Result<(String, u16, String)>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let (stop, kept, refused) = (&stop, &kept, &refused);
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    for round in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return answers;
                        }
                        let key = format!("W{writer}_{round}");
                        let answer = instance.api_request("PATCH", "/apps/durable/config-vars", &format!("{{\"{key}\":\"x\"}}"));
                        answers.push(answer.map(|answer| {
                            if answer.status == 200 { kept } else { refused }.fetch_add(1, Ordering::Relaxed);
                            (key, answer.status, answer.body)
                        }));
                    }
                    answers
                })
            })
            .collect();
        let more = |counter: &AtomicUsize, than: usize| {
            eventually(Duration::from_mins(1), || if counter.load(Ordering::Relaxed) > than { Ok(()) } else { bail!("no answers come") })
        };
        let cut = (|| {
            more(&kept, 20)?;
            database.halt()?;
            more(&refused, 5)?;
            ensure!(app.get("/")?.status == 200, "apps do not need the database");
            database.resume()?;
            more(&kept, kept.load(Ordering::Relaxed) + 20)
        })();
        stop.store(true, Ordering::Relaxed);
        let answers =
            writers.into_iter().flat_map(|writer| writer.join().unwrap_or_else(|_| vec![Err(anyhow::anyhow!("a writer panicked"))]));
        cut.map(|()| answers.collect())
    })?;
    let config = app.json(&["config", "--json"])?;
    for answer in answers {
        let (key, status, body) = answer?;
        ensure!(matches!(status, 200 | 503), "{key} was answered with {status}: {body}");
        ensure!(status != 200 || config[&key] == "x", "{key} was acknowledged and is not there");
    }
    let list = app.json(&["releases", "-n", "1000", "--json"])?;
    let mut versions: Vec<u64> = list.as_array().into_iter().flatten().filter_map(|release| release["version"].as_u64()).collect();
    versions.sort_unstable();
    let newest = versions.last().copied().unwrap_or_default();
    let oldest = versions.first().copied().unwrap_or_default();
    ensure!(versions == (oldest..=newest).collect::<Vec<_>>() && (oldest == 1 || versions.len() == 1000), "a gap in {versions:?}");
    eventually(Duration::from_mins(1), || {
        let dynos = app.json(&["ps", "--json"])?;
        let dynos: Vec<_> =
            dynos.as_array().into_iter().flatten().map(|dyno| (&dyno["state"], dyno["release"]["version"].as_u64())).collect();
        if matches!(dynos[..], [(state, Some(version))] if *state == "up" && version == newest) {
            Ok(())
        } else {
            bail!("{dynos:?}, newest {newest}")
        }
    })
}
