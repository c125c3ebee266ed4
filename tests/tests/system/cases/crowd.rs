//! Many at once: a thousand config changes, each on a connection of its own.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Instance, eventually};

const MANY: usize = 1000;

/// One request on a connection that is open already; its status and body.
fn change(mut stream: TcpStream, token: &str, app: &str, key: usize, start: &Barrier) -> Result<(u16, String)> {
    let body = format!("{{\"K{key}\":\"{key}\"}}");
    let request = format!(
        "PATCH /apps/{app}/config-vars HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAccept: application/vnd.heroku+json; version=3\r\n\
         Content-Type: application/json\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    start.wait();
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).with_context(|| format!("no status in {answer:?}"))?;
    Ok((status, answer))
}

/// How often a web dyno was asked for.
fn starts(app: &App<'_>) -> usize {
    let log = app.landfall(&["logs", "-n", "1500", "--dyno", "web.1"]).done().map(|done| done.stdout).unwrap_or_default();
    log.matches("Starting process with command").count()
}

pub(crate) fn a_thousand_config_changes_at_once(instance: &Instance) -> Result<()> {
    let app = App::hello(instance, "thousand")?;
    let token = instance.token()?;
    let before = starts(&app);
    let start = Barrier::new(MANY);
    let begun = Instant::now();
    let answers: Vec<Result<(u16, String)>> = std::thread::scope(|scope| {
        let changes: Vec<_> = (0..MANY)
            .map(|key| {
                let (app, token, start, api) = (app.name.as_str(), token.as_str(), &start, instance.api);
                let thread = std::thread::Builder::new().stack_size(128 * 1024);
                thread.spawn_scoped(scope, move || {
                    let stream = TcpStream::connect_timeout(&api, Duration::from_secs(30)).context("connecting");
                    // Who could not connect must not keep the others waiting for ever.
                    if stream.is_err() {
                        start.wait();
                    }
                    change(stream?, token, app, key, start)
                })
            })
            .collect();
        changes
            .into_iter()
            .map(|thread| thread?.join().map_err(|_| std::io::Error::other("a client panicked")).map_err(anyhow::Error::from)?)
            .collect()
    });
    let took = begun.elapsed();
    for (key, answer) in answers.into_iter().enumerate() {
        let (status, text) = answer.with_context(|| format!("K{key}"))?;
        ensure!(status == 200, "K{key} was refused: {text}");
        ensure!(text.contains(&format!("\"K{key}\":\"{key}\"")), "K{key} is not in its own answer");
    }
    eprintln!("{MANY} config changes at once: {took:?}");
    ensure!(took < Duration::from_secs(90), "it took {took:?}");

    let config = app.json(&["config", "--json"])?;
    let keys: BTreeSet<String> = config.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect();
    ensure!(keys.len() == MANY, "{} of {MANY} changes are there", keys.len());
    let last = 2 + MANY as u64;
    let list = app.json(&["releases", "-n", "1000", "--json"])?;
    let mut versions: BTreeSet<u64> = list.as_array().into_iter().flatten().filter_map(|release| release["version"].as_u64()).collect();
    for older in ["v1", "v2"] {
        versions.extend(app.json(&["releases:info", older, "--json"])?["version"].as_u64());
    }
    ensure!(versions == (1..=last).collect(), "a gap or a repeat");
    ensure!(app.newest_release()? == (last, "succeeded".into()));

    let ran = eventually(Duration::from_mins(1), || {
        let dynos = app.json(&["ps", "--json"])?;
        let dynos: Vec<_> = dynos.as_array().into_iter().flatten().collect();
        match dynos[..] {
            [only] if only["state"] == "up" && only["release"]["version"] == last => Ok(only["name"].clone()),
            _ => bail!("{dynos:?}"),
        }
    })?;
    ensure!(ran == "web.1");
    ensure!(app.landfall(&["ps:exec", "web.1", "--", "sh", "-c", "env | grep -c ^K"]).ok()?.stdout == "1000\n", "the dyno has all of them");
    let started = starts(&app) - before;
    eprintln!("dynos started for them: {started}");
    ensure!(started <= 6, "{started} dynos were started for one change of config in the end");
    ensure!(app.get("/")?.status == 200);
    Ok(())
}
