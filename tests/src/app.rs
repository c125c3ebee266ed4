//! One app of an instance, with a git work tree of its own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::Instance;
use crate::http::{self, Answer};
use crate::run::{Done, Run, eventually};

/// A Python program that listens on `$PORT` and answers with `GREETING` (or its own file's words).
pub const HELLO: &str = include_str!("../../packaging/sample/app.py");

/// An app; destroyed when dropped.
pub struct App<'a> {
    instance: &'a Instance,
    /// Its name.
    pub name: String,
    work: TempDir,
}

impl<'a> App<'a> {
    /// `landfall create NAME` in a fresh git work tree.
    pub fn create(instance: &'a Instance, name: &str) -> Result<Self> {
        let work = TempDir::new()?;
        let app = Self { instance, name: name.to_owned(), work };
        app.git(&["init", "-q", "-b", "main"]).ok()?;
        app.landfall(&["create", name]).ok()?;
        Ok(app)
    }

    /// An app that runs [`HELLO`], pushed and answering.
    pub fn hello(instance: &'a Instance, name: &str) -> Result<Self> {
        let app = Self::create(instance, name)?;
        app.write("app.py", HELLO)?.write("Procfile", "web: python app.py\n")?.write("requirements.txt", "")?;
        app.push()?;
        app.answers(200)?;
        Ok(app)
    }

    /// The work tree.
    pub fn dir(&self) -> &Path {
        self.work.path()
    }

    /// Writes a file of the work tree.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> Result<&Self> {
        let path = self.work.path().join(path);
        std::fs::create_dir_all(path.parent().context("a parent")?)?;
        let program = text.as_ref().starts_with(b"#!");
        std::fs::write(&path, text)?;
        if program {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(self)
    }

    /// git in the work tree.
    pub fn git(&self, args: &[&str]) -> Run {
        Run::new("git", args).with(|command| {
            command.current_dir(self.work.path());
            self.instance.environment(command);
        })
    }

    /// `landfall …` in the work tree, so that the app is the remote's.
    pub fn landfall(&self, args: &[&str]) -> Run {
        self.instance.landfall(args).with(|command| {
            command.current_dir(self.work.path());
        })
    }

    /// Commits everything (also nothing).
    pub fn commit(&self) -> Result<()> {
        self.git(&["add", "-A"]).ok()?;
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]).ok()?;
        Ok(())
    }

    /// Commits and pushes; refused is an error.
    pub fn push(&self) -> Result<Done> {
        self.commit()?;
        self.git(&["push", "landfall", "main"]).within(Duration::from_mins(5)).ok()
    }

    /// Commits and pushes; accepted is an error.
    pub fn push_refused(&self) -> Result<Done> {
        self.commit()?;
        self.git(&["push", "landfall", "main"]).within(Duration::from_mins(5)).fails()
    }

    /// `blog.localhost`.
    pub fn host(&self) -> String {
        format!("{}.localhost", self.name)
    }

    /// GET through the router.
    pub fn get(&self, path: &str) -> Result<Answer> {
        http::get(self.instance.router, &self.host(), path)
    }

    /// Waits until the app answers with a status.
    pub fn answers(&self, status: u16) -> Result<Answer> {
        self.answers_when(|answer| answer.status == status)
    }

    /// Waits until an answer is as wanted.
    pub fn answers_when(&self, wanted: impl Fn(&Answer) -> bool) -> Result<Answer> {
        eventually(Duration::from_mins(1), || {
            let answer = self.get("/")?;
            if wanted(&answer) { Ok(answer) } else { bail!("{} answers {answer:?}\n{}", self.name, self.log()) }
        })
    }

    /// The end of its log, for failure messages and assertions.
    pub fn log(&self) -> String {
        self.landfall(&["logs", "-n", "200"]).done().map_or_else(|error| error.to_string(), |done| done.all())
    }

    /// Newest release number and its status.
    pub fn newest_release(&self) -> Result<(u64, String)> {
        let list = self.json(&["releases", "-n", "1", "--json"])?;
        Ok((list[0]["version"].as_u64().context("a version")?, list[0]["status"].as_str().unwrap_or_default().to_owned()))
    }

    /// A listing as JSON.
    pub fn json(&self, args: &[&str]) -> Result<serde_json::Value> {
        let done = self.landfall(args).ok()?;
        serde_json::from_str(&done.stdout).with_context(|| done.all())
    }
}

impl Drop for App<'_> {
    fn drop(&mut self) {
        // What is kept for a look is kept whole.
        if std::env::var_os("LANDFALL_TEST_KEEP").is_some() {
            return;
        }
        let _ = self.landfall(&["apps:destroy", "-a", &self.name, "--confirm", &self.name]).done();
    }
}
