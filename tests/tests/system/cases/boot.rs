//! Apps that do not come up, do not end, or do not clean up after themselves: what their owner is told, and that nothing else suffers.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Done, Instance, eventually};

/// A web process that listens where it is told (`host`, `port`), or nowhere.
fn listens(host: &str, port: &str) -> String {
    format!(
        "import http.server, os\nprint('about to listen', flush=True)\n\
         http.server.HTTPServer(('{host}', {port}), http.server.BaseHTTPRequestHandler).serve_forever()\n"
    )
}

/// Deploys a program that will not come up over one that serves. The push is accepted (the release is made), says why, and what serves on.
fn deploys_in_vain(app: &App<'_>, program: &str) -> Result<Done> {
    app.write("bad.py", program)?.write("Procfile", "web: python bad.py\n")?.commit()?;
    let push = app.git(&["push", "landfall", "main"]).within(Duration::from_secs(200)).ok()?;
    let says = &push.stderr;
    ensure!(says.contains("v3 is released, but its dynos do not come up"), "{says}");
    ensure!(says.contains("v2 serves on") && says.contains("landfall rollback v2") && says.contains("landfall logs --tail"), "{says}");
    ensure!(app.get("/")?.body == "Hello from Landfall\n", "the old release serves on");
    Ok(push)
}

/// The push and the log say the same.
fn both_say(app: &App<'_>, push: &Done, words: &str) -> Result<()> {
    ensure!(push.stderr.contains(words), "the push does not say {words:?}:\n{}", push.stderr);
    eventually(Duration::from_secs(10), || if app.log().contains(words) { Ok(()) } else { bail!("no {words:?} in\n{}", app.log()) })
}

const R10: &str = "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 4 seconds of launch";

pub(crate) fn never_listens(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "deaf")?;
    let push = deploys_in_vain(&app, "import time\ntime.sleep(1000)\n")?;
    both_say(&app, &push, R10)?;
    both_say(&app, &push, "It listens on no port at all. Listen on 0.0.0.0, port $PORT")?;
    // It is started again, with a pause, for as long as nobody mends it; the old one never stops.
    app.landfall(&["rollback", "v2"]).ok()?;
    eventually(Duration::from_secs(30), || {
        let dynos = app.json(&["ps", "--json"])?;
        let names: Vec<&str> = dynos.as_array().into_iter().flatten().filter_map(|dyno| dyno["state"].as_str()).collect();
        if names == ["up"] { Ok(()) } else { bail!("{dynos}") }
    })
}

pub(crate) fn listens_on_the_wrong_port(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "wrong-port")?;
    let push = deploys_in_vain(&app, &listens("0.0.0.0", "8123"))?;
    both_say(&app, &push, R10)?;
    both_say(&app, &push, "It listens on 0.0.0.0:8123, not on port 5000. Read the port from the PORT environment variable")
}

pub(crate) fn listens_on_loopback_only(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "shy")?;
    let push = deploys_in_vain(&app, &listens("127.0.0.1", "int(os.environ['PORT'])"))?;
    both_say(&app, &push, R10)?;
    both_say(&app, &push, "It listens on 127.0.0.1:5000, which nobody outside the dyno can reach. Listen on 0.0.0.0")
}

pub(crate) fn exits_at_once(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "short-lived")?;
    let push = deploys_in_vain(&app, "import sys\nsys.exit('the settings are missing')\n")?;
    both_say(&app, &push, "Process exited with status 1")?;
    both_say(&app, &push, "State changed from starting to crashed")?;
    ensure!(app.log().contains("the settings are missing"), "{}", app.log());
    ensure!(push.stderr.matches("Process exited with status 1").count() == 3, "three tries are enough to tell:\n{}", push.stderr);
    Ok(())
}

pub(crate) fn first_deploy_that_does_not_come_up(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "stillborn")?;
    app.write("bad.py", "import sys\nsys.exit(9)\n")?.write("Procfile", "web: python bad.py\n")?.write("requirements.txt", "")?;
    let push = app.push()?;
    ensure!(push.stderr.contains("v2 is released, but its dynos do not come up"), "{}", push.stderr);
    ensure!(push.stderr.contains("Nothing answers at") && !push.stderr.contains("rollback"), "{}", push.stderr);
    let answer = app.get("/")?;
    ensure!(answer.status == 503, "{answer:?}");
    Ok(())
}

pub(crate) fn ignores_sigterm(instance: &Instance) -> Result<()> {
    let app = App::create(instance, "stubborn")?;
    app.write("Procfile", "web: python app.py\nworker: python worker.py\n")?
        .write("app.py", landfall_tests::app::HELLO)?
        .write("requirements.txt", "")?
        .write("worker.py", "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\nprint('ready', flush=True)\nwhile True: time.sleep(1)\n")?;
    app.push()?;
    app.landfall(&["ps:scale", "worker=1"]).ok()?;
    let said = |words: &str| {
        eventually(Duration::from_secs(30), || if app.log().contains(words) { Ok(()) } else { bail!("no {words:?} in\n{}", app.log()) })
    };
    said("app[worker.1]: ready")?;
    app.landfall(&["ps:scale", "worker=0"]).ok()?;
    for words in [
        "Stopping all processes with SIGTERM",
        "app[worker.1]: no",
        "Error R12 (Exit timeout) -> At least one process failed to exit within 2 seconds of SIGTERM",
        "Stopping remaining processes with SIGKILL",
        "Process exited with status 137",
        "State changed from up to down",
    ] {
        said(words)?;
    }
    eventually(Duration::from_secs(20), || {
        let dynos = app.json(&["ps", "--json"])?;
        let gone = dynos.as_array().into_iter().flatten().all(|dyno| dyno["type"] != "worker");
        if gone { Ok(()) } else { bail!("{dynos}") }
    })
}

pub(crate) fn leaves_zombies(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "haunted")?;
    // Each child leaves a grandchild, ends, and is waited for; the grandchild ends later, with nobody but pid 1 to wait for it.
    let orphans = "import os, sys, time\nfor _ in range(40):\n    child = os.fork()\n    if child == 0:\n        if os.fork() == 0:\n            time.sleep(0.2)\n        os._exit(0)\n    os.waitpid(child, 0)\n";
    app.write("app.py", format!("{orphans}print('orphans made', flush=True)\n{}", landfall_tests::app::HELLO))?.push()?;
    app.answers(200)?;
    // Its own words, so that the processes of the question itself are not counted.
    let states = "import glob\nfor path in glob.glob('/proc/[0-9]*/stat'):\n    try: print(open(path).read().rsplit(')', 1)[1].split()[:2])\n    except OSError: pass\n";
    eventually(Duration::from_secs(20), || {
        let found = app.landfall(&["ps:exec", "web.1", "python", "-c", states]).ok()?.stdout;
        ensure!(found.contains("'1'"), "pid 1 has children: {found}");
        ensure!(!found.contains("'Z'"), "zombies are left:\n{found}");
        Ok(())
    })?;
    let log = app.log();
    ensure!(log.contains("orphans made"), "{log}");
    app.get("/").context("it serves").map(drop)
}
