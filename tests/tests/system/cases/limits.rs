//! What one dyno may take of the machine, and how its owner hears of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Instance, Options, eventually};

/// A web app that takes memory and disk when asked.
const GREEDY: &str = r#"
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

held = []

class Greedy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        what, _, amount = self.path.strip("/").partition("/")
        if what == "memory":
            held.extend(os.urandom(1 << 20) for _ in range(int(amount)))
        if what == "disk":
            with open("/tmp/big", "ab") as file:
                for _ in range(int(amount)):
                    file.write(os.urandom(1 << 20))
        body = ("%d\n" % (os.path.getsize("/tmp/big") if os.path.exists("/tmp/big") else 0)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Greedy).serve_forever()
"#;

fn greedy<'a>(instance: &'a Instance, name: &str) -> Result<App<'a>> {
    let app = App::create(instance, name)?;
    app.write("app.py", GREEDY)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?;
    app.push()?;
    app.answers(200)?;
    Ok(app)
}

fn says(app: &App<'_>, words: &[&str], limit: Duration) -> Result<String> {
    eventually(limit, || {
        let log = app.log();
        for word in words {
            ensure!(log.contains(word), "{word:?} is not in the log:\n{log}");
        }
        Ok(log)
    })
}

pub(crate) fn a_dyno_that_fills_its_disk_starts_anew() -> Result<()> {
    let set = [("dyno.disk_mib", "32"), ("dyno.one_off", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let instance = Instance::start(&Options { set, ..Options::default() })?;
    let (app, other) = (greedy(&instance, "hoarder")?, App::hello(&instance, "neighbour")?);
    ensure!(app.get("/disk/20")?.body == format!("{}\n", 20 << 20));
    app.get("/disk/10")?;
    says(&app, &["heroku[web.1]: Disk is 9"], Duration::from_secs(20))?;
    // It may be gone before it has answered.
    let _cut = app.get("/disk/30");
    let said = [
        "heroku[web.1]: Error R18 (Disk quota exceeded)",
        "heroku[web.1]: Stopping process with SIGKILL",
        "State changed from up to crashed",
    ];
    let log = says(&app, &said, Duration::from_secs(30))?;
    ensure!(log.matches("Error R18").count() == 1, "{log}");
    // The second start begins with an empty disk.
    app.answers_when(|answer| answer.status == 200 && answer.body == "0\n")?;
    ensure!(other.get("/")?.status == 200);
    one_offs_have_an_end(&other)
}

fn one_offs_have_an_end(app: &App<'_>) -> Result<()> {
    let run = || app.landfall(&["run:detached", "sleep 1000"]);
    let first = run().ok()?.stdout;
    run().ok()?;
    let refused = run().fails()?.stderr;
    ensure!(refused.contains("runs 2 one-off dynos, and no more run at once") && refused.contains("landfall ps:stop"), "{refused}");
    let name = first.split_whitespace().find(|word| word.starts_with("run.")).context("its name")?;
    app.landfall(&["ps:stop", name]).ok()?;
    eventually(Duration::from_secs(20), || run().ok().map(drop))
}

pub(crate) fn memory_over_its_quota_is_told_and_far_over_it_is_the_end(instance: &Instance) -> Result<()> {
    let app = greedy(instance, "glutton")?;
    ensure!(app.get("/memory/600")?.status == 200, "over 512 MiB it runs on");
    let log =
        says(&app, &["heroku[web.1]: Process running mem=", "heroku[web.1]: Error R14 (Memory quota exceeded)"], Duration::from_secs(45))?;
    let percent = log
        .lines()
        .find_map(|line| line.split_once("Process running mem=")?.1.split_once('(')?.1.strip_suffix("%)"))
        .context("per cent")?;
    ensure!((110.0..200.0).contains(&percent.parse::<f64>()?), "{percent}");
    ensure!(app.get("/")?.status == 200 && !app.log().contains("R15"));
    let _cut = app.get("/memory/600");
    says(&app, &["heroku[web.1]: Error R15 (Memory quota vastly exceeded)", "State changed from up to crashed"], Duration::from_secs(30))?;
    app.answers(200)?;
    Ok(())
}

/// Says what time it is, ten times in a tenth of a second… and all the time.
const CALM: &str = "import time\nn = 0\nwhile True:\n    print(n, time.time(), flush=True)\n    n += 1\n    time.sleep(0.01)\n";

/// As much as a pipe takes.
const FLOOD: &str = "import os\nline = b'flood ' + b'x' * 93 + b'\\n'\nblock = line * 640\nwhile True:\n    os.write(1, block)\n";

/// CPU time of a process so far.
fn cpu(pid: i32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().context("a stat")?.split(' ').collect();
    let ticks: u64 = fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?;
    // Linux tells user space of a hundred ticks a second, whatever it counts itself.
    Ok(Duration::from_millis(ticks * 10))
}

fn resident_kb(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The shim of an app's worker.
fn shim(instance: &Instance, app: &App<'_>) -> Result<i32> {
    let id = app.json(&["ps", "--json"])?[0]["id"].as_str().context("a dyno")?.replace('-', "");
    for process in std::fs::read_dir("/proc")?.flatten() {
        let command = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if command.contains("landfall-shim") && command.contains(&*instance.run_dir().to_string_lossy()) && command.contains(&id) {
            return Ok(process.file_name().to_string_lossy().parse()?);
        }
    }
    bail!("no shim of {id}")
}

fn worker<'a>(instance: &'a Instance, name: &str, program: &str) -> Result<App<'a>> {
    let app = App::create(instance, name)?;
    app.write("work.py", program)?.write("Procfile", "worker: python work.py\n")?.write("requirements.txt", "")?.push()?;
    Ok(app)
}

/// Rule Q9: a flood delays no other app's line by more than a second and loses none, costs less than a core, and has an end on disk.
pub(crate) fn a_flood_of_one_app_is_nobody_elses_business() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    let (calm, flood) = (worker(&instance, "calm", CALM)?, worker(&instance, "flood", FLOOD)?);
    for app in [&flood, &calm] {
        app.landfall(&["ps:scale", "worker=1"]).ok()?;
        // Among the app's own lines it would be gone in a moment.
        eventually(Duration::from_secs(30), || {
            let told = app.landfall(&["logs", "-n", "20", "--source", "landfall"]).ok()?.stdout;
            ensure!(told.contains("State changed from starting to up"), "{told}");
            Ok(())
        })?;
    }
    let (shim, server) = (shim(&instance, &flood)?, instance.pid("server")?);
    let (cpu_before, server_before, server_kb) = (cpu(shim)?, cpu(server)?, resident_kb(server)?);
    let begun = Instant::now();
    let heard = std::thread::scope(|scope| -> Result<Vec<(u64, f64)>> {
        // Somebody watches the flood, too.
        let watched = scope.spawn(|| tail(&instance, &flood, Duration::from_secs(12), |_| None::<()>));
        let heard = tail(&instance, &calm, Duration::from_secs(12), |line| {
            let (_, text) = line.split_once(" app[worker.1]: ")?;
            let (number, said_at) = text.split_once(' ')?;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64();
            Some((number.parse().ok()?, now - said_at.parse::<f64>().ok()?))
        });
        watched.join().map_err(|_| anyhow::anyhow!("the flood's watcher panicked"))??;
        heard
    })?;
    let took = begun.elapsed();
    let (shim_cpu, server_cpu) = (cpu(shim)?.saturating_sub(cpu_before), cpu(server)?.saturating_sub(server_before));
    ensure!(heard.len() > 300, "only {} lines were heard", heard.len());
    ensure!(heard.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "lines of another app were lost or doubled");
    let worst = heard.iter().map(|(_, delay)| *delay).fold(0.0, f64::max);
    ensure!(worst < 1.0, "a line came {worst:.3} s late");
    ensure!(shim_cpu < took, "the flood's shim took {shim_cpu:?} of CPU in {took:?}");
    ensure!(resident_kb(shim)? < 8 << 10, "the flood's shim holds {} kB", resident_kb(shim)?);
    let grown = resident_kb(server)?.saturating_sub(server_kb);
    ensure!(grown < 64 << 10, "the server grew by {grown} kB");
    let id = flood.json(&["apps:info", "--json"])?["id"].as_str().context("an id")?.to_owned();
    let sizes =
        std::fs::read_dir(instance.data_dir().join("logs").join(id))?.flatten().map(|file| file.metadata().map_or(0, |meta| meta.len()));
    let bytes: u64 = sizes.sum();
    ensure!(bytes < 10 << 20, "the flood's log takes {bytes} bytes");
    let told = flood.landfall(&["logs", "-n", "20", "--source", "landfall"]).ok()?.stdout;
    let dropped = told.lines().filter_map(|line| {
        line.split_once("Error L12 (Local buffer overflow): ")?.1.split_once(" messages dropped since")?.0.parse::<u64>().ok()
    });
    ensure!(dropped.sum::<u64>() > 10_000, "{told}");
    eprintln!("flood: worst delay {worst:.3} s, shim {shim_cpu:?} and server {server_cpu:?} of CPU in {took:?}, server grew by {grown} kB");
    Ok(())
}

/// What `pick` makes of an app's lines as they come, for some time.
fn tail<T>(instance: &Instance, app: &App<'_>, time: Duration, mut pick: impl FnMut(&str) -> Option<T>) -> Result<Vec<T>> {
    use std::io::BufRead as _;
    let mut command = std::process::Command::new(instance.program());
    command.args(["logs", "--tail", "-n", "1", "-a", &app.name]).stdout(std::process::Stdio::piped());
    instance.environment(&mut command);
    let mut child = command.spawn()?;
    let reader = std::io::BufReader::new(child.stdout.take().context("stdout")?);
    let end = Instant::now() + time;
    let mut picked = Vec::new();
    for line in reader.lines() {
        picked.extend(pick(&line?));
        if Instant::now() > end {
            break;
        }
    }
    let _ended = child.kill();
    child.wait()?;
    Ok(picked)
}
