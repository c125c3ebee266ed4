//! A PostgreSQL of our own: temp folder, Unix socket only, gone when dropped.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::run::{Run, eventually};

/// A running cluster.
pub struct Postgres {
    bin: PathBuf,
    dir: TempDir,
    uid: u32,
    /// Databases made so far, beside the first.
    made: u32,
    server: Option<Child>,
}

impl Postgres {
    /// initdb and start, as the system's `postgres` user (PostgreSQL refuses root).
    pub fn start() -> Result<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed: apt-get install postgresql")?;
        let bin = versions.flatten().map(|version| version.path().join("bin")).max().context("no PostgreSQL version")?;
        let uid = Run::new("id", &["-u", "postgres"]).ok()?.stdout.trim().parse()?;
        let dir = TempDir::new()?;
        std::os::unix::fs::chown(dir.path(), Some(uid), None)?;
        let mut cluster = Self { bin, dir, uid, made: 0, server: None };
        let data = cluster.data();
        Run::new(
            cluster.bin.join("initdb"),
            &["-D", &data, "-U", "landfall", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
        )
        .with(|command| cluster.as_postgres(command))
        .ok()?;
        // The server's user ("nobody") must reach the socket.
        std::fs::set_permissions(cluster.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        cluster.resume()?;
        Run::new(cluster.bin.join("createdb"), &["-h", &cluster.socket_dir(), "-U", "landfall", "landfall"]).ok()?;
        Ok(cluster)
    }

    fn as_postgres(&self, command: &mut Command) {
        command.uid(self.uid).current_dir(self.dir.path());
    }

    fn data(&self) -> String {
        self.dir.path().join("data").to_string_lossy().into_owned()
    }

    fn socket_dir(&self) -> String {
        self.dir.path().to_string_lossy().into_owned()
    }

    /// The address for `store.url`.
    pub fn url(&self) -> String {
        format!("postgres://landfall@localhost/landfall?host={}", self.socket_dir())
    }

    /// Makes another, empty database; its address for `store.url`.
    pub fn database(&mut self) -> Result<String> {
        self.made += 1;
        let name = format!("landfall{}", self.made);
        Run::new(self.bin.join("createdb"), &["-h", &self.socket_dir(), "-U", "landfall", &name]).ok()?;
        Ok(format!("postgres://landfall@localhost/{name}?host={}", self.socket_dir()))
    }

    /// `psql` with some SQL, to be run.
    pub fn sql(&self, sql: &str) -> Run {
        Run::new(self.bin.join("psql"), &["-X", "-A", "-t", "-h", &self.socket_dir(), "-U", "landfall", "-d", "landfall", "-c", sql])
    }

    /// Starts the server and waits until it answers.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = Command::new(self.bin.join("postgres"));
        command.args([
            "-D",
            &self.data(),
            "-k",
            &self.socket_dir(),
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=60",
        ]);
        self.as_postgres(&mut command);
        self.server = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        let socket = self.socket_dir();
        eventually(Duration::from_secs(20), || Run::new(self.bin.join("pg_isready"), &["-h", &socket]).ok().map(drop))
    }

    /// Cuts every connection and stops it at once, as a crash would.
    pub fn halt(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            let pid = i32::try_from(server.id()).ok().and_then(rustix::process::Pid::from_raw).context("a pid")?;
            rustix::process::kill_process(pid, rustix::process::Signal::QUIT)?;
            server.wait()?;
        }
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.halt();
    }
}
