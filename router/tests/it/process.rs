//! A router in a process of its own: limits of the process, and strangers.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use landfall_router::control::{AppRoutes, Backend, Client, Mode, Table};
use landfall_router::{Limits, Router};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::harness::*;

/// Not a test: the process that the others start. It serves until it is killed.
#[test]
#[ignore = "other tests run it, in a process of its own"]
fn be_a_router() {
    let Some(dir) = std::env::var_os("ROUTER_DIR") else { return };
    let dir = Path::new(&dir);
    if let Some(descriptors) = std::env::var("ROUTER_DESCRIPTORS").ok().and_then(|number| number.parse().ok()) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors / 2), maximum: Some(descriptors) }).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut limits = Limits::default();
        if let Some(memory) = std::env::var("ROUTER_MEMORY").ok().and_then(|number| number.parse().ok()) {
            limits.memory = memory;
        }
        let router = Router::bind(config(dir, limits)).unwrap();
        std::fs::write(dir.join("addr.new"), router.local_addrs()[0].to_string()).unwrap();
        std::fs::rename(dir.join("addr.new"), dir.join("addr")).unwrap();
        router.serve(CancellationToken::new()).await;
    });
}

struct Process {
    child: Child,
    addr: SocketAddr,
    control: Client,
    _dir: tempfile::TempDir,
}

impl Process {
    /// With these variables, and two apps, `one` and `two`, that this dyno serves.
    async fn start(env: &[(&str, u64)], dyno: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "process::be_a_router", "--ignored", "--nocapture"]).env("ROUTER_DIR", dir.path());
        command.envs(env.iter().map(|(name, number)| (name, number.to_string())));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let file = dir.path().join("addr");
        let addr = eventually(|| {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::fs::read_to_string(&file).ok()
        })
        .await;
        let control = Client::new(dir.path().join("router.sock"));
        let apps = ["one", "two"].map(|name| AppRoutes {
            id: name.to_owned(),
            name: name.to_owned(),
            hosts: vec![],
            log_dir: None,
            mode: Mode::Serving,
            backends: vec![Backend { id: name.to_owned(), addr: dyno, dyno: "web.1".to_owned() }],
        });
        control.replace_table(Table { generation: 1, apps: apps.to_vec() }).await.unwrap();
        Self { child, addr: addr.parse().unwrap(), control, _dir: dir }
    }

    /// Connects and asks, without waiting for the answer.
    async fn ask(&self, name: &str) -> TcpStream {
        let mut stream = connect_from_anywhere(self.addr).await;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {name}.localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    /// Time it has spent computing.
    fn cpu(&self) -> Duration {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            total += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Duration::from_nanos(total)
    }

    /// From now on it may open descriptors with numbers below this one.
    fn allow(&self, descriptors: u64) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(descriptors), maximum }).unwrap();
    }

    fn allow_one_more(&self) {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let open: Vec<u64> = open.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        let mut free = (0..).filter(|number| !open.contains(number));
        free.next();
        self.allow(free.next().unwrap());
    }

    /// Bytes of memory it has, as proc_pid_status(5) names them: `VmRSS` now, `VmHWM` at most so far.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    fn descriptors(&self) -> u64 {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count() as u64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// With no descriptor left, connections wait in the kernel's queue, nothing spins, and all goes on once there are some again.
#[tokio::test]
async fn without_descriptors_nothing_spins_and_nothing_is_lost() {
    let (dyno, _) = answering(HELLO).await;
    let router = Process::start(&[], dyno).await;
    // The first client takes the last descriptor; there is none for its dyno.
    router.allow_one_more();
    let mut first = router.ask("one").await;
    let response = read_all(&mut first).await;
    assert!(status(&response) == 503 && response.contains("H99"), "{response}");
    assert_eq!(router.control.stats().await.unwrap().platform_errors, 1);
    drop(first);

    router.allow(3);
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(router.ask("two").await);
    }
    let (started, before) = (Instant::now(), router.cpu());
    let early = tokio::time::timeout(Duration::from_millis(700), waiting[0].read_u8()).await;
    assert!(early.is_err(), "nobody can be answered");
    let spent = router.cpu().saturating_sub(before);
    assert!(spent < started.elapsed() / 5, "it computed for {spent:?} of {:?}", started.elapsed());

    router.allow(1000);
    for mut client in waiting {
        assert_eq!(status(&read_all(&mut client).await), 200, "it was in the queue all the time, and the dyno is not to blame");
    }
}

/// Clients are turned away while there are still descriptors for the dynos of those who are in.
#[tokio::test]
async fn clients_are_turned_away_before_descriptors_run_out() {
    const ALLOWED: u64 = 320;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let router = Process::start(&[("ROUTER_DESCRIPTORS", ALLOWED)], listener.local_addr().unwrap()).await;
    let served = (ALLOWED / 16 * 6) as usize;
    let mut clients = Vec::new();
    let mut dynos = Vec::new();
    // 50 for each of two dynos at a time: the others wait for their turn.
    for at in 0..served {
        clients.push(router.ask(if at % 2 == 0 { "one" } else { "two" }).await);
        if at < 100 {
            let (mut dyno, _) = within(listener.accept()).await.unwrap();
            read_head(&mut dyno).await.unwrap();
            dynos.push(dyno);
        }
    }
    eventually_async(async || (router.control.stats().await.unwrap().connections == served as u64).then_some(())).await;
    for _ in 0..10 {
        let response = read_all(&mut router.ask("one").await).await;
        assert!(status(&response) == 503 && response.contains("Too many connections"), "{response}");
    }
    assert!(router.descriptors() < ALLOWED);
    for mut dyno in dynos {
        dyno.write_all(HELLO.as_bytes()).await.unwrap();
    }
    let rest = tokio::spawn(async move {
        while let Ok((mut dyno, _)) = listener.accept().await {
            read_head(&mut dyno).await;
            let _ = dyno.write_all(HELLO.as_bytes()).await;
        }
    });
    for mut client in clients {
        assert_eq!(status(&read_all(&mut client).await), 200);
    }
    rest.abort();
}

/// Where there is little, one address can still not take all of it.
#[tokio::test]
async fn half_of_the_connections_are_left_to_other_addresses() {
    const ALLOWED: u64 = 320;
    let (dyno, _) = answering(HELLO).await;
    let router = Process::start(&[("ROUTER_DESCRIPTORS", ALLOWED)], dyno).await;
    let half = (ALLOWED / 16 * 3) as usize;
    let mut greedy = Vec::new();
    for _ in 0..half {
        greedy.push(TcpStream::connect(router.addr).await.unwrap());
    }
    eventually_async(async || (router.control.stats().await.unwrap().connections == half as u64).then_some(())).await;
    let refused = read_all(&mut TcpStream::connect(router.addr).await.unwrap()).await;
    assert!(status(&refused) == 503 && refused.contains("Too many connections"), "{refused}");
    assert_eq!(status(&read_all(&mut router.ask("one").await).await), 200);
}

/// The budget is what the process really takes, and not only what it counts: heads that do not end come from everywhere.
#[tokio::test]
async fn memory_stays_within_its_budget() {
    const MEMORY: u64 = 64 << 20;
    const HOGS: usize = 650;
    const CLIENTS: usize = 200;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    let head: &'static [u8] = format!("HTTP/1.1 200 OK\r\n{}", format!("X: {}\r\n", "x".repeat(250_000)).repeat(4)).leak().as_bytes();
    let boaster = dyno(move |mut stream| async move {
        read_head(&mut stream).await;
        // It is cut when there is no room for more.
        let _ = stream.write_all(head).await;
        let _ = stream.read_u8().await;
    })
    .await;
    let router = Process::start(&[("ROUTER_MEMORY", MEMORY)], boaster).await;
    let before = router.memory("VmRSS");

    let request = format!("GET / HTTP/1.1\r\nHost: one.localhost\r\n{}", format!("X: {}\r\n", "x".repeat(7500)).repeat(8));
    let mut hogs = Vec::new();
    for _ in 0..HOGS {
        let mut hog = connect_from_anywhere(router.addr).await;
        let _ = hog.write_all(request.as_bytes()).await;
        hogs.push(hog);
    }
    let mut clients = tokio::task::JoinSet::new();
    for at in 0..CLIENTS {
        let mut client = router.ask(if at % 2 == 0 { "one" } else { "two" }).await;
        clients.spawn(async move {
            let mut answer = String::new();
            let _ = client.read_to_string(&mut answer).await;
            answer
        });
    }
    // Those that are not told hold what they have got: far fewer than there would be room for without the budget.
    for _ in 0..CLIENTS - 50 {
        let answer = within(clients.join_next()).await.unwrap().unwrap();
        assert!(status(&answer) == 503 && answer.contains("H99"), "{answer}");
    }
    let stats = router.control.stats().await.unwrap();
    assert!(stats.memory <= MEMORY, "{}", stats.memory);
    let grown = router.memory("VmHWM") - before;
    assert!(grown < MEMORY + MEMORY / 4, "it grew by {} MiB", grown >> 20);
    assert!(grown > MEMORY / 8, "it grew by {} MiB only: the test shows nothing", grown >> 20);
}

/// Whoever is neither root nor the router's own user is refused, even if the socket's mode let them in.
#[tokio::test]
async fn strangers_are_refused_on_the_control_socket() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can be somebody else");
        return;
    }
    let rig = Rig::start(Limits::default()).await;
    rig.blog(Mode::Serving, &[]).await;
    let socket = rig.dir.path().join("router.sock");
    for (path, mode) in [(rig.dir.path(), 0o755), (&*socket, 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let talk = move |uid: Option<u32>| {
        let socket = socket.clone();
        // The system call changes this thread alone.
        std::thread::spawn(move || {
            use std::io::{BufRead as _, Write as _};
            if let Some(uid) = uid {
                let uid = rustix::process::Uid::from_raw(uid);
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
            // The refusal may come before the question is out.
            let _ = stream.write_all(b"{\"id\":1,\"op\":\"remove_app\",\"generation\":9,\"app\":\"app-1\"}\n");
            let mut answer = String::new();
            let _ = std::io::BufReader::new(stream).read_line(&mut answer);
            answer
        })
        .join()
        .unwrap()
    };
    assert_eq!(talk(Some(65534)), "");
    assert_eq!(rig.control.stats().await.unwrap().apps.len(), 1, "nothing was removed");
    assert!(talk(None).contains("applied"));
    assert!(rig.control.stats().await.unwrap().apps.is_empty());
}
