//! From a push, a config change, a rollback to the first answer of the new release; and what a visitor notices of it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use landfall_tests::app::HELLO;
use landfall_tests::{App, Instance, Run, eventually};

use crate::table::{Table, median, ms};

/// Time from calling `change` to the first answer that holds `wanted`.
fn until_answer(app: &App<'_>, wanted: &str, change: impl FnOnce() -> Result<()> + Send) -> Result<Duration> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let change = scope.spawn(change);
        let limit = Duration::from_mins(2);
        let live = loop {
            if app.get("/").is_ok_and(|answer| answer.body.contains(wanted)) {
                break started.elapsed();
            }
            anyhow::ensure!(started.elapsed() < limit, "{wanted} never came");
            std::thread::sleep(Duration::from_millis(2));
        };
        change.join().map_err(|_| anyhow::anyhow!("the change panicked"))??;
        Ok(live)
    })
}

/// Waits until no dyno of an earlier release answers beside the current one.
fn alone(app: &App<'_>) -> Result<()> {
    eventually(Duration::from_mins(1), || {
        let dynos = app.json(&["ps", "--json"])?;
        let dynos = dynos.as_array().context("dynos")?;
        anyhow::ensure!(dynos.len() == 1 && dynos[0]["state"] == "up", "{dynos:?}");
        Ok(())
    })
}

/// What the app itself needs from start to listening, on this host without any container.
fn own_boot(app: &App<'_>) -> Result<Duration> {
    let times = (0..5).map(|_| {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let started = Instant::now();
        let mut child = std::process::Command::new("python3")
            .arg("app.py")
            .current_dir(app.dir())
            .env("PORT", port.port().to_string())
            .stdout(std::process::Stdio::null())
            .spawn()?;
        while std::net::TcpStream::connect(port).is_err() {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(10), "the app does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        let took = started.elapsed();
        child.kill()?;
        child.wait()?;
        Ok(took)
    });
    Ok(median(times.collect::<Result<_>>()?))
}

pub(crate) fn push_to_live(instance: &Instance, table: &mut Table) -> Result<()> {
    let app = App::create(instance, "bench")?;
    app.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "six==1.16.0\n")?.write("app.py", HELLO)?;
    app.commit()?;
    let push = || app.git(&["push", "-q", "landfall", "main"]).within(Duration::from_mins(5)).ok().map(drop);
    table.row("push → live, cold (first push, one dependency)", ms(until_answer(&app, "Hello", push)?), "");
    let boot = own_boot(&app)?;
    table.row("the app's own boot, no container", ms(boot), "");

    let code_only = (0..5).map(|round| {
        let word = format!("code {round}");
        app.write("app.py", HELLO.replace("Hello from Landfall", &word))?.commit()?;
        until_answer(&app, &word, push)
    });
    table.row("push → live, code only (median of 5)", ms(median(code_only.collect::<Result<_>>()?)), "aim ≤ 1000 ms");

    app.write("requirements.txt", "six==1.17.0\n")?.write("app.py", HELLO.replace("Hello from Landfall", "dependency"))?.commit()?;
    table.row("push → live, one dependency changed", ms(until_answer(&app, "dependency", push)?), "");

    let config = (0..5).map(|round| {
        let word = format!("config {round}");
        until_answer(&app, &word, || app.landfall(&["config:set", &format!("GREETING={word}")]).ok().map(drop))
    });
    let config = median(config.collect::<Result<_>>()?);
    table.row("config:set → live (median of 5)", ms(config), format!("aim ≤ 300 ms + boot = {}", ms(Duration::from_millis(300) + boot)));

    let (newest, _) = app.newest_release()?;
    let targets = [(newest - 1, "config 3"), (newest, "config 4"), (newest - 1, "config 3")];
    let back = targets.map(|(version, word)| {
        alone(&app)?;
        until_answer(&app, word, || app.landfall(&["rollback", &format!("v{version}")]).ok().map(drop))
    });
    table.row(
        "rollback → live (median of 3)",
        ms(median(back.into_iter().collect::<Result<_>>()?)),
        format!("aim ≤ {}", ms(Duration::from_millis(300) + boot)),
    );
    Ok(())
}

pub(crate) fn refused_requests(instance: &Instance, table: &mut Table) -> Result<()> {
    let app = App::create(instance, "loaded")?;
    // One write an answer: else the load waits for acknowledgements most of the time.
    let quick = HELLO.replace("    protocol_version", "    wbufsize = -1\n    protocol_version");
    app.write("app.py", quick)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?.push()?;
    app.answers(200)?;
    let url = format!("http://{}/", instance.router);
    let (stop, total, failed) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| -> Result<()> {
        let load = scope.spawn(|| -> Result<()> {
            // wrk in short turns, so that it ends soon after the last deploy.
            while !stop.load(Ordering::Relaxed) {
                let report = Run::new("wrk", &["-t1", "-c4", "-d2s", "-H", &format!("Host: {}", app.host()), &url]).ok()?.stdout;
                let count = |line: &str, word: usize| -> usize {
                    report
                        .lines()
                        .find(|text| text.contains(line))
                        .and_then(|text| text.split_whitespace().nth(word))
                        .and_then(|text| text.trim_matches(',').parse().ok())
                        .unwrap_or(0)
                };
                total.fetch_add(count("requests in", 0), Ordering::Relaxed);
                let broken: usize = report
                    .lines()
                    .find(|text| text.contains("Socket errors"))
                    .map_or(0, |text| text.split_whitespace().filter_map(|word| word.trim_matches(',').parse::<usize>().ok()).sum());
                failed.fetch_add(count("Non-2xx", 4) + broken, Ordering::Relaxed);
            }
            Ok(())
        });
        let deploys = (0..20).try_for_each(|round| {
            app.landfall(&["config:set", &format!("GREETING=deploy {round}")]).ok()?;
            app.answers_when(|answer| answer.body == format!("deploy {round}\n")).map(drop)
        });
        stop.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?.context("the load")?;
        deploys
    })?;
    table.row(
        "requests refused or failed during 20 deploys under load",
        format!("{} of {}", failed.load(Ordering::Relaxed), total.load(Ordering::Relaxed)),
        "aim 0",
    );
    Ok(())
}
