//! For tests, in this crate and others (feature `testing`): a fresh store on SQLite, or on a real PostgreSQL of this test process.
//!
//! The cluster lives in a temporary directory, listens on a Unix socket only, runs as user `postgres` when we are root, and goes when the
//! last [`TestStore`] on it is dropped; if the test process is killed, the kernel kills the server with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Store, StoreConfig};

const BIN: &str = "/usr/lib/postgresql/15/bin";
const DEADLINE: Duration = Duration::from_mins(1);

/// A store of its own, and what must live as long as it does.
pub struct TestStore {
    /// The store.
    pub store: Store,
    /// How it was opened.
    pub config: StoreConfig,
    /// Where its files are.
    pub dir: TempDir,
    /// The server, on PostgreSQL.
    pub postgres: Option<Arc<Postgres>>,
}

impl TestStore {
    /// On a fresh SQLite file.
    pub async fn sqlite() -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let url = format!("sqlite:{}", dir.path().join("landfall.db").display());
        Self::open(url, dir, None).await
    }

    /// On a fresh database of this process's PostgreSQL.
    pub async fn postgres() -> Self {
        let server = tokio::task::spawn_blocking(Postgres::shared).await.expect("PostgreSQL starts");
        Self::postgres_on(server).await
    }

    /// On a fresh database of a given PostgreSQL.
    pub async fn postgres_on(server: Arc<Postgres>) -> Self {
        let url = server.database();
        Self::open(url, TempDir::new().expect("a temporary directory"), Some(server)).await
    }

    async fn open(url: String, dir: TempDir, postgres: Option<Arc<Postgres>>) -> Self {
        let config = StoreConfig::new(url, dir.path().join("secret.key"));
        let store = Store::open(config.clone()).await.expect("the store opens");
        Self { store, config, dir, postgres }
    }
}

/// A private PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// The server all tests of this process share.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start_new());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server of one's own, to be restarted at will.
    pub fn start_new() -> Self {
        let dir = tempfile::Builder::new().prefix("landfall-pg-").tempdir().expect("a temporary directory");
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown").arg("postgres:postgres").arg(dir.path()));
        }
        let mut initdb = as_postgres("initdb");
        initdb
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username=postgres", "-D"])
            .arg(data(dir.path()));
        run(&mut initdb);
        let this = Self { dir, server: Mutex::new(None), databases: AtomicU32::new(0) };
        this.start();
        this
    }

    /// Starts the stopped server; returns once it answers.
    pub fn start(&self) {
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(data(self.dir.path())).arg("-k").arg(self.dir.path());
        for setting in [
            "listen_addresses=",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "max_connections=200",
            "shared_buffers=16MB",
        ] {
            command.args(["-c", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        *self.lock() = Some(spawn_from_lasting_thread(command));
        let deadline = Instant::now() + DEADLINE;
        while !self.psql("postgres", "SELECT 1") {
            assert!(Instant::now() < deadline, "PostgreSQL did not answer within {DEADLINE:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server at once, cutting every connection; returns when it is gone.
    pub fn stop(&self) {
        if let Some(mut server) = self.lock().take() {
            let pid = rustix::process::Pid::from_child(&server);
            // Fast shutdown; SIGKILL would leave its workers and shared memory behind.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
            let _ = server.wait();
        }
    }

    /// Makes an empty database; its URL.
    pub fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        assert!(self.psql("postgres", &format!("CREATE DATABASE {name}")), "CREATE DATABASE failed");
        format!("postgres://postgres@localhost/{name}?host={}", self.dir.path().display())
    }

    fn psql(&self, database: &str, sql: &str) -> bool {
        let mut psql = Command::new(Path::new(BIN).join("psql"));
        psql.args(["-X", "-q", "-U", "postgres", "-d", database, "-c", sql, "-h"]).arg(self.dir.path());
        psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.server.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data")
}

/// A PostgreSQL program, as user `postgres` when we are root (it refuses to run as root), killed when its parent thread ends.
fn as_postgres(program: &str) -> Command {
    let program = Path::new(BIN).join(program);
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--pdeathsig=INT").arg("--").arg(program);
    command
}

/// The parent-death signal comes when the *thread* that spawned ends, and test threads end early: this one lasts as long as the process.
fn spawn_from_lasting_thread(mut command: Command) -> Child {
    let (answer, child) = mpsc::channel();
    let spawn = move || {
        let _ = answer.send(command.spawn());
        loop {
            std::thread::park();
        }
    };
    std::thread::Builder::new().name("postgres-parent".to_owned()).spawn(spawn).expect("a thread");
    child.recv().expect("the thread answers").expect("setpriv and PostgreSQL 15 are installed")
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("PostgreSQL 15 is installed (apt-get install postgresql)");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
