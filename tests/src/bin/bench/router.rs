//! What a request costs the router: CPU time a request, against HAProxy doing the same, and against itself with a small table.
//!
//! The app behind both is nginx with one fixed answer. Only the proxy's own CPU time counts, so that a noisy machine moves both alike;
//! the two take turns.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_router::control::{AppRoutes, Backend, Client, Mode, Table as Routes};
use landfall_tests::instance::root;
use landfall_tests::{Run, eventually, http};
use tempfile::TempDir;

use crate::table::Table;

const ROUNDS: usize = 15;
const TURN: &str = "-d1s";
const MANY: usize = 100_000;
const FEW: usize = 10;

pub(crate) fn cost(table: &mut Table) -> Result<()> {
    let dir = TempDir::new()?;
    let backend = nginx(dir.path())?;
    let router = Router::start(dir.path())?;
    let haproxy = haproxy(dir.path(), backend.addr)?;

    router.serve(FEW, backend.addr, Some(dir.path()))?;
    let mut logged = Turns::default();
    for _ in 0..ROUNDS {
        let ours = cpu_a_request(&router.process, router.addr, FEW, FEW)?;
        logged.push(ours, cpu_a_request(&haproxy.process, haproxy.addr, FEW, FEW)?);
    }
    table.row(
        "router CPU per request, keep-alive, its log line written",
        format!("{:.1} µs", logged.one()),
        format!("HAProxy {:.2}× {:.1} µs (1 thread, its log line written); aim ≤ 1.0×", logged.ratio(), logged.other()),
    );

    let (mut visited_few, mut visited_all) = (Turns::default(), Turns::default());
    for round in 0..ROUNDS {
        router.serve(FEW, backend.addr, None)?;
        let few = cpu_a_request(&router.process, router.addr, FEW, FEW)?;
        router.serve(MANY, backend.addr, None)?;
        visited_few.push(cpu_a_request(&router.process, router.addr, FEW, MANY)?, few);
        if round % 3 == 0 {
            visited_all.push(cpu_a_request(&router.process, router.addr, MANY, MANY)?, few);
        }
    }
    table.row(
        "router CPU per request, 100,000 hosts in the table, 10 of them visited",
        format!("{:.1} µs", visited_few.one()),
        format!("10 hosts in the table {:.2}× {:.1} µs; aim ≤ 1.05×", visited_few.ratio(), visited_few.other()),
    );
    let note = "every visit meets a cold app and a cold connection";
    table.row(
        "router CPU per request, 100,000 hosts in the table, all visited in turn",
        format!("{:.1} µs", visited_all.one()),
        format!("10 hosts in the table {:.2}× {:.1} µs ({note})", visited_all.ratio(), visited_all.other()),
    );
    Ok(())
}

/// Two things, measured in turns.
///
/// Who shares the machine slows down both of a turn, now more, now less: the ratio is the middle one of the turns' own.
#[derive(Default)]
struct Turns(Vec<(f64, f64)>);

impl Turns {
    fn push(&mut self, one: f64, other: f64) {
        self.0.push((one, other));
    }

    fn middle(&self, of: impl Fn(&(f64, f64)) -> f64) -> f64 {
        let mut numbers: Vec<f64> = self.0.iter().map(of).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied().unwrap_or_default()
    }

    fn one(&self) -> f64 {
        self.middle(|turn| turn.0)
    }

    fn other(&self) -> f64 {
        self.middle(|turn| turn.1)
    }

    fn ratio(&self) -> f64 {
        self.middle(|turn| turn.0 / turn.1)
    }
}

/// Requests for `visited` hosts, spread evenly over the `of` there are.
const SCRIPT: &str = "
local requests, at = {}, 0
function init(args)
  local visited, of = tonumber(args[1]), tonumber(args[2])
  for i = 1, visited do
    wrk.headers['Host'] = 'h' .. math.floor((i - 1) * of / visited) .. '.localhost'
    requests[i] = wrk.format('GET', '/')
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
";

/// Microseconds of CPU time the process used for each request it answered.
fn cpu_a_request(process: &Process, addr: SocketAddr, visited: usize, of: usize) -> Result<f64> {
    let script = process.dir.join("hosts.lua");
    fs::write(&script, SCRIPT)?;
    let (visited, of) = (visited.to_string(), of.to_string());
    let url = format!("http://{addr}/");
    let before = process.at_rest()?;
    let report = Run::new("wrk", &["-t1", "-c16", TURN, "-s", &script.to_string_lossy(), &url, "--", &visited, &of]).ok()?.stdout;
    let used = process.cpu()?.saturating_sub(before);
    ensure!(!report.contains("Non-2xx") && !report.contains("Socket errors"), "{report}");
    let line = report.lines().find(|line| line.contains("requests in")).context("no count of requests")?;
    let requests: f64 = line.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(used.as_secs_f64() * 1e6 / requests)
}

/// A program that ends with its value.
struct Process {
    child: Child,
    dir: std::path::PathBuf,
}

impl Process {
    fn start(command: &mut Command, dir: &Path, output: &str) -> Result<Self> {
        let output = File::create(dir.join(output))?;
        let child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        Ok(Self { child: child.with_context(|| format!("starting {command:?}"))?, dir: dir.to_owned() })
    }

    /// [`Self::cpu`] once it stands still: what a table of another size left to clear up is not a request's cost.
    fn at_rest(&self) -> Result<Duration> {
        let mut before = self.cpu()?;
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.cpu()?;
            if now.saturating_sub(before) < Duration::from_millis(1) {
                return Ok(now);
            }
            before = now;
        }
    }

    /// User and system time of all its threads.
    fn cpu(&self) -> Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))?.flatten() {
            // proc(5): nanoseconds on a CPU, nanoseconds waiting for one, turns.
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
        }
        Ok(Duration::from_nanos(total))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Something that listens.
struct Server {
    process: Process,
    addr: SocketAddr,
}

fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn answering(process: Process, addr: SocketAddr, host: &str) -> Result<Server> {
    eventually(Duration::from_secs(10), || {
        let answer = http::get(addr, host, "/")?;
        if answer.status == 200 { Ok(()) } else { bail!("{answer:?}") }
    })?;
    Ok(Server { process, addr })
}

fn nginx(dir: &Path) -> Result<Server> {
    let addr = free_addr()?;
    let config = format!(
        "daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.log;\n\
         events {{ worker_connections 2048; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n\
         server {{ listen {addr}; location / {{ return 200 \"Hello\\n\"; }} }} }}\n",
        dir = dir.display(),
    );
    fs::write(dir.join("nginx.conf"), config)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    answering(Process::start(&mut command, dir, "nginx.out")?, addr, "any")
}

/// HAProxy with the router's duties: by host, forwarded headers, a request id, one log line.
fn haproxy(dir: &Path, backend: SocketAddr) -> Result<Server> {
    let addr = free_addr()?;
    let config = format!(
        "global\n nbthread 1\n maxconn 4000\n log stdout format raw local0\n\
         defaults\n mode http\n log global\n option httplog\n option forwardfor\n http-reuse always\n \
         timeout connect 5s\n timeout client 60s\n timeout server 30s\n\
         frontend f\n bind {addr}\n unique-id-format %{{+X}}o%ci%cp%fi%fp%Ts%rt\n unique-id-header X-Request-Id\n \
         http-request set-header X-Forwarded-Proto http\n http-request set-header X-Forwarded-Port %[dst_port]\n \
         use_backend app if {{ hdr_end(host) -i .localhost }}\n\
         backend app\n server web.1 {backend}\n"
    );
    fs::write(dir.join("haproxy.cfg"), config)?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(dir.join("haproxy.cfg"));
    answering(Process::start(&mut command, dir, "haproxy.out")?, addr, "h0.localhost")
}

/// Our router, alone.
struct Router {
    process: Process,
    addr: SocketAddr,
    control: Client,
    runtime: tokio::runtime::Runtime,
}

impl Router {
    fn start(dir: &Path) -> Result<Self> {
        let addr = free_addr()?;
        let (run, data) = (dir.join("run"), dir.join("data"));
        let config = dir.join("landfall.toml");
        let text = format!("run_dir = \"{}\"\ndata_dir = \"{}\"\n[router]\nlisten = \"{addr}\"\n", run.display(), data.display());
        fs::write(&config, text)?;
        let mut command = Command::new(root()?.join("bin/landfall"));
        command.arg("router").arg("--config").arg(&config);
        let process = Process::start(&mut command, dir, "router.out")?;
        let control = Client::new(run.join("router.sock")).with_patience(Duration::from_mins(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { process, addr, control, runtime })
    }

    /// Makes `hosts` apps with one dyno each all there is.
    fn serve(&self, hosts: usize, backend: SocketAddr, logs: Option<&Path>) -> Result<()> {
        let app = |number: usize| AppRoutes {
            id: format!("app-{number}"),
            name: format!("h{number}"),
            hosts: Vec::new(),
            log_dir: logs.map(|dir| dir.join("logs").join(number.to_string())),
            mode: Mode::Serving,
            backends: vec![Backend { id: format!("dyno-{number}"), addr: backend, dyno: "web.1".to_owned() }],
        };
        let table = Routes { generation: 1, apps: (0..hosts).map(app).collect() };
        if let Some(logs) = logs {
            (0..hosts).try_for_each(|number| fs::create_dir_all(logs.join("logs").join(number.to_string())))?;
        }
        self.runtime.block_on(self.control.replace_table(table))?;
        ensure!(http::get(self.addr, "h0.localhost", "/")?.status == 200, "the router does not serve");
        Ok(())
    }
}
