//! Somebody sets the machine's clock, by a day, forwards and back: server, agent and router see it jump (libfaketime), shims and containers do
//! not. Nothing must come of it but other stamps.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Instance, Options, eventually, http};
use serde_json::Value;
use tempfile::TempDir;

use super::kill::state::settled;
use super::kill::visitors::Visitors;

/// A clock that can be set for an instance's processes.
struct Clock {
    dir: TempDir,
}

impl Clock {
    fn new() -> Result<Self> {
        let dir = TempDir::new()?;
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let clock = Self { dir };
        clock.set(0)?;
        Ok(clock)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    /// So many seconds from the machine's own.
    fn set(&self, seconds: i64) -> Result<()> {
        let new = self.dir.path().join("new");
        std::fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(std::fs::rename(new, self.file())?)
    }

    fn env(&self) -> Result<Vec<(String, String)>> {
        let library = std::fs::read_dir("/usr/lib")?.flatten().map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let library =
            library.into_iter().find(|path| path.exists()).context("libfaketime is not installed: apt-get install libfaketime")?;
        let pairs = [
            ("LD_PRELOAD", library.to_string_lossy().into_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.file().to_string_lossy().into_owned()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ];
        Ok(pairs.map(|(key, value)| (key.to_owned(), value)).into())
    }
}

const DAY: i64 = 86_400;

fn web(app: &App<'_>) -> Result<Value> {
    let dynos = app.json(&["ps", "--json"])?;
    let web: Vec<&Value> = dynos.as_array().into_iter().flatten().filter(|dyno| dyno["name"] == "web.1").collect();
    let [web] = web[..] else { bail!("one web.1 alone: {web:?}") };
    ensure!(web["state"] == "up", "{web}");
    Ok(serde_json::json!([web["id"], web["release"]["version"]]))
}

/// The server's clock, as it says in its answers.
fn server_says(instance: &Instance) -> Result<jiff::Timestamp> {
    let answer = instance.api_request("POST", "/apps/steady/log-sessions", "{}")?;
    let session: Value = serde_json::from_str(&answer.body).with_context(|| answer.body.clone())?;
    Ok(session["created_at"].as_str().context("a time")?.parse()?)
}

pub(crate) fn a_clock_that_is_set_changes_nothing() -> Result<()> {
    let clock = Clock::new()?;
    let instance = Instance::start(&Options { env: clock.env()?, ..Options::default() })?;
    let steady = App::create(&instance, "steady")?;
    steady.write("index.html", "always")?.push()?;
    let moving = App::create(&instance, "moving")?;
    moving.write("index.html", "before")?.push()?;
    let talking = App::hello(&instance, "talking")?;
    let crashing = App::create(&instance, "crashing")?;
    crashing.write("index.html", "x")?.write("Procfile", "worker: echo here; exit 3\n")?.push()?;
    crashing.landfall(&["ps:scale", "web=0"]).ok()?;
    for app in [&steady, &moving] {
        app.answers(200)?;
    }
    let before = eventually(Duration::from_secs(20), || web(&steady))?;
    let visitors = Visitors::of(instance.router, &[steady.host(), moving.host()]);
    let browser = log_in(&instance)?;
    let mut said = Said::default();
    said.ask(&talking, "before")?;
    let tail = Tail::of(&instance, &talking)?;
    said.ask(&talking, "tailed")?;

    for (round, offset) in [DAY, 0, -DAY, 0].into_iter().enumerate() {
        // A dyno in its back-off: at once, after 1 s, after 2 s; then it waits 4 s, give or take a fifth. A new release begins anew.
        crashing.landfall(&["config:set", &format!("ROUND={round}")]).ok()?;
        let begun = told(&crashing, "Starting process")?;
        crashing.landfall(&["ps:scale", "worker=1"]).ok()?;
        let started = |times: usize| {
            eventually(Duration::from_secs(40), || {
                let starts = told(&crashing, "Starting process")? - begun;
                if starts >= times { Ok(()) } else { bail!("started {starts} times\n{}", crashing.log()) }
            })
        };
        started(4)?;
        eventually(Duration::from_secs(20), || {
            // Each earlier round stopped the worker, maybe before its process began: then there is no end to tell.
            let (starts, ends) = (told(&crashing, "Starting process")?, told(&crashing, "Process exited")?);
            if (starts.saturating_sub(round)..=starts).contains(&ends) {
                Ok(())
            } else {
                bail!("{starts} starts, {ends} ends\n{}", crashing.log())
            }
        })?;
        clock.set(offset)?;
        let waiting = Instant::now();
        let ahead = server_says(&instance)?.duration_since(jiff::Timestamp::now()).as_secs();
        ensure!((ahead - offset).abs() < 5, "the clock is not set: {ahead} s");
        said.ask(&talking, &format!("set-{round}"))?;
        // What a process knew of time before, its successor must know after.
        visitors.router_dies(round == 2);
        instance.kill(["server", "agent", "router", "server"][round])?;
        instance.api_answers()?;
        started(5)?;
        let waited = waiting.elapsed();
        ensure!(
            (Duration::from_millis(2_500)..Duration::from_secs(20)).contains(&waited),
            "the back-off was {waited:?}\n{}",
            crashing.log()
        );
        crashing.landfall(&["ps:scale", "worker=0"]).ok()?;
        visitors.router_dies(false);

        moving.write("index.html", format!("round {round}"))?.push()?;
        moving.answers_when(|answer| answer.body == format!("round {round}"))?;
        talking.landfall(&["config:set", &format!("GREETING=round {round}")]).ok()?;
        talking.answers_when(|answer| answer.body == format!("round {round}\n"))?;
        said.words(&["Set GREETING config vars", "Starting process with command", "listening on", "State changed from starting to up"]);
        said.ask(&talking, &format!("deployed-{round}"))?;
        eventually(Duration::from_secs(30), || ensure_same(&web(&steady)?, &before))?;
        visitors.saw_nothing()?;
        ensure!(is_in(&instance, &browser)?, "the browser was logged out");
    }

    let log = talking.landfall(&["logs", "-n", "1500"]).ok()?.stdout;
    said.in_order(&log)?;
    said.in_order(&tail.saw(&log)?)?;
    settled(&instance, &[&steady, &moving, &talking])?;
    let builds = moving.json(&["builds", "--json"])?;
    let releases: Vec<u64> = builds.as_array().into_iter().flatten().filter_map(|build| build["release"]["version"].as_u64()).collect();
    ensure!(releases == [6, 5, 4, 3, 2], "newest first: {releases:?}");
    Ok(())
}

fn ensure_same(now: &Value, before: &Value) -> Result<()> {
    ensure!(now == before, "the dyno was replaced: {before}, {now}");
    Ok(())
}

/// What must be in a log, in this order.
#[derive(Default)]
struct Said(Vec<String>);

impl Said {
    /// A request whose path is in the router's line.
    fn ask(&mut self, app: &App<'_>, words: &str) -> Result<()> {
        ensure!(app.get(&format!("/{words}"))?.status == 200);
        let line = format!("path=\"/{words}\"");
        let by_app = format!("app[web.1]: GET /{words}");
        eventually(Duration::from_secs(10), || {
            let log = app.log();
            ensure!(log.contains(&line) && log.contains(&by_app), "no {line} and {by_app} in\n{log}");
            Ok(())
        })?;
        self.0.push(line);
        Ok(())
    }

    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|words| (*words).to_owned()));
    }

    fn in_order(&self, log: &str) -> Result<()> {
        let mut rest = log;
        for words in &self.0 {
            let (_, after) =
                rest.split_once(words.as_str()).with_context(|| format!("no {words:?} after what came before it in\n{log}"))?;
            rest = after;
        }
        Ok(())
    }
}

/// `landfall logs --tail` of somebody whose client comes back when the connection breaks, as a browser's does.
struct Tail {
    seen: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    fn of(instance: &Instance, app: &App<'_>) -> Result<Self> {
        let (seen, ended) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let client =
            Client { api: instance.api, token: instance.token()?, app: app.name.clone(), seen: seen.clone(), ended: ended.clone() };
        let thread = std::thread::spawn(move || {
            let mut last = None;
            while !client.ended.load(Ordering::SeqCst) {
                // Refused while the server is away: again.
                let _ = client.follow(&mut last);
            }
        });
        Ok(Self { seen, ended, thread: Some(thread) })
    }

    /// It saw every line of the log from where it began, once. (What two processes say at the same moment it may see in either order.)
    fn saw(&self, log: &str) -> Result<String> {
        eventually(Duration::from_secs(10), || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let first = seen.first().context("the tail saw nothing")?;
            let (before, _) = log.split_once(first.as_str()).context("the tail saw something else")?;
            let mut wanted: Vec<&str> = log[before.len()..].lines().collect();
            let mut sorted: Vec<&str> = seen.iter().map(String::as_str).collect();
            wanted.sort_unstable();
            sorted.sort_unstable();
            ensure!(sorted == wanted, "the tail saw\n{}\nthe log is\n{}", seen.join("\n"), &log[before.len()..]);
            Ok(format!("{before}{}", seen.join("\n")))
        })
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Client {
    api: SocketAddr,
    token: String,
    app: String,
    seen: Arc<Mutex<Vec<String>>>,
    ended: Arc<AtomicBool>,
}

impl Client {
    /// One connection: from the event id `last` on, to its end. A session of its own, for an old one's address may have expired.
    fn follow(&self, last: &mut Option<String>) -> Result<()> {
        let headers = [
            ("Accept", "application/vnd.heroku+json; version=3"),
            ("Content-Type", "application/json"),
            ("Authorization", &format!("Bearer {}", self.token)),
        ];
        let path = format!("/apps/{}/log-sessions", self.app);
        let session = http::request(self.api, "POST", "127.0.0.1", &path, &headers, br#"{"lines": 1, "tail": true}"#)?;
        let session: Value = serde_json::from_str(&session.body)?;
        let url = session["logplex_url"].as_str().context("a URL")?;
        let path = url.splitn(4, '/').nth(3).context("a path")?;
        let resume = last.as_ref().map_or_else(String::new, |last| format!("Last-Event-ID: {last}\r\n"));
        let mut stream = TcpStream::connect(self.api)?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        // 1.0: no chunks.
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n{resume}\r\n")?;
        let (mut id, mut text, mut piece) = (None, Vec::new(), [0; 4096]);
        while !self.ended.load(Ordering::SeqCst) {
            match stream.read(&mut piece) {
                Ok(0) => bail!("the connection broke"),
                Ok(count) => text.extend_from_slice(&piece[..count]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => continue,
                Err(error) => return Err(error.into()),
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if let Some(next) = line.strip_prefix("id: ") {
                    id = Some(next.to_owned());
                } else if let Some(line) = line.strip_prefix("data: ") {
                    self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
                    // The id comes with the last line of a batch.
                    *last = id.take().or(last.take());
                }
            }
        }
        Ok(())
    }
}

/// How often the log says something of the worker.
fn told(app: &App<'_>, words: &str) -> Result<usize> {
    let log = app.landfall(&["logs", "-n", "1500", "--dyno", "worker.1"]).ok()?.stdout;
    Ok(log.lines().filter(|line| line.contains(words)).count())
}

/// Logs in as the administrator, in a browser: the session's cookie.
fn log_in(instance: &Instance) -> Result<String> {
    let told = instance.landfall(&["admin"]).ok()?.stdout;
    let word = |key: &str| told.lines().find_map(|line| Some(line.strip_prefix(key)?.trim().to_owned())).with_context(|| told.clone());
    let form = format!("email={}&password={}", word("E-mail")?.replace('@', "%40"), word("Password")?);
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = http::request(instance.api, "POST", "127.0.0.1", "/login", &headers, form.as_bytes())?;
    let cookie = answer.head.lines().find_map(|line| line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")));
    let (_, cookie) = cookie.with_context(|| answer.head.clone())?;
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

fn is_in(instance: &Instance, cookie: &str) -> Result<bool> {
    let answer = http::request(instance.api, "GET", "127.0.0.1", "/dashboard/apps/steady", &[("Cookie", cookie)], b"")?;
    Ok(answer.status == 200)
}
