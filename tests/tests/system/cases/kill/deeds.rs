//! What is being done when a process dies, and how it is done again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Done, Instance, eventually};

use super::state;

/// What is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// `git push` with a code change.
    Push,
    /// The same, of an app with a release phase and a health check.
    Phase,
    /// `git push` of an app that never had code, with a postdeploy script.
    First,
    /// `config:set`.
    Config,
    /// `ps:scale web=2`.
    Scale,
    /// `rollback`.
    Rollback,
    /// `apps:destroy`.
    Destroy,
    /// The look for what may go, some seconds after a deploy.
    Sweep,
    /// A start of this process.
    Boot(&'static str),
}

/// What the client of a deed was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// That it is done.
    Accepted,
    /// That it is not, in the platform's words.
    Refused,
    /// Nothing: the connection broke.
    Cut,
}

impl Deed {
    /// For the table.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Push => "`git push`".into(),
            Self::Phase => "`git push` with a release phase and a health check".into(),
            Self::First => "`git push`, an app's first, with a postdeploy script".into(),
            Self::Config => "`config:set`".into(),
            Self::Scale => "`ps:scale`".into(),
            Self::Rollback => "`rollback`".into(),
            Self::Destroy => "`apps:destroy`".into(),
            Self::Sweep => "a sweep".into(),
            Self::Boot(role) => format!("start of the {role}"),
        }
    }
}

impl Seen {
    /// For the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Accepted => "done",
            Self::Refused => "refused",
            Self::Cut => "cut off",
        }
    }

    fn of(done: &Done) -> Self {
        match done.code {
            0 => Self::Accepted,
            _ if done.stderr.contains(" ! ") && !done.stderr.contains("went away") => Self::Refused,
            _ => Self::Cut,
        }
    }
}

/// The apps that deeds are done to.
pub(crate) struct Apps<'a> {
    instance: &'a Instance,
    witness: &'a App<'a>,
    pub(crate) plain: App<'a>,
    pub(crate) phased: App<'a>,
    /// An app of this deed alone.
    own: RefCell<Option<App<'a>>>,
    round: Cell<u32>,
    /// What `plain` answers with, by release.
    words: RefCell<BTreeMap<u64, String>>,
}

const SEED: &str = r#"{"scripts": {"postdeploy": "echo seeding"}}"#;
const CHECK: &str = r#"{"healthchecks": {"web": [{"type": "startup", "name": "answers", "path": "/"}]}}"#;

impl<'a> Apps<'a> {
    pub(crate) fn deploy(instance: &'a Instance, witness: &'a App<'a>) -> Result<Self> {
        let plain = App::create(instance, "plain")?;
        plain.write("index.html", "round 0")?.push()?;
        let phased = App::create(instance, "phased")?;
        phased.write("index.html", "round 0")?.write("Procfile", "release: echo migrating\n")?.write("app.json", CHECK)?.push()?;
        let apps = Self { instance, witness, plain, phased, own: RefCell::default(), round: Cell::new(0), words: RefCell::default() };
        for app in [&apps.plain, &apps.phased] {
            app.answers_when(|answer| answer.body == "round 0")?;
        }
        apps.note()?;
        Ok(apps)
    }

    /// Writes down what the current release of `plain` answers with.
    pub(crate) fn note(&self) -> Result<()> {
        let current = current(&self.plain)?;
        self.words.borrow_mut().insert(current, self.plain.get("/")?.body);
        Ok(())
    }

    /// Everything that must be there before; nobody dies of it.
    pub(crate) fn prepare(&self, deed: Deed) -> Result<()> {
        self.round.set(self.round.get() + 1);
        let words = format!("round {}", self.round.get());
        match deed {
            Deed::Push | Deed::Sweep => self.plain.write("index.html", words)?.commit(),
            Deed::Phase => self.phased.write("index.html", words)?.commit(),
            Deed::Destroy => {
                let app = App::create(self.instance, &format!("gone-{}", self.round.get()))?;
                app.write("index.html", words)?.push()?;
                app.answers(200)?;
                self.own.replace(Some(app));
                Ok(())
            }
            Deed::First => {
                let app = App::create(self.instance, &format!("first-{}", self.round.get()))?;
                app.write("index.html", words)?.write("app.json", SEED)?.commit()?;
                self.own.replace(Some(app));
                Ok(())
            }
            // The release before has the same code: what only older ones have may be gone by now.
            Deed::Rollback => self.plain.landfall(&["config:set", &format!("BACK={words}")]).ok().map(drop),
            Deed::Config | Deed::Scale | Deed::Boot(_) => Ok(()),
        }
    }

    /// Does it once.
    pub(crate) fn attempt(&self, deed: Deed) -> Result<Done> {
        match deed {
            Deed::Push | Deed::Sweep => self.plain.git(&["push", "landfall", "main"]).done(),
            Deed::Phase => self.phased.git(&["push", "landfall", "main"]).done(),
            Deed::First => self.own.borrow().as_ref().context("an app")?.git(&["push", "landfall", "main"]).done(),
            Deed::Config => self.plain.landfall(&["config:set", &format!("ROUND={}", self.round.get())]).done(),
            Deed::Scale => self.plain.landfall(&["ps:scale", "web=2"]).done(),
            Deed::Rollback => self.plain.landfall(&["rollback"]).done(),
            Deed::Destroy => {
                let name = self.own.borrow().as_ref().context("an app")?.name.clone();
                self.instance.landfall(&["apps:destroy", "-a", &name, "--confirm", &name]).done()
            }
            Deed::Boot(role) => {
                let pid = rustix::process::Pid::from_raw(self.instance.pid(role)?).context("a pid")?;
                rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
                Ok(Done { code: 0, stdout: String::new(), stderr: String::new() })
            }
        }
    }

    pub(crate) fn seen(done: &Done) -> Seen {
        Seen::of(done)
    }

    /// What a user does who was not told that it is done: again, until it is. Says what that came to.
    pub(crate) fn finish(&self, deed: Deed, seen: Seen, before: u64) -> Result<&'static str> {
        match deed {
            Deed::First => {
                let app = self.own.take().context("an app")?;
                let then = self.pushed(&app, seen)?;
                seeded_once(&app)?;
                Ok(then)
            }
            Deed::Push | Deed::Sweep => self.pushed(&self.plain, seen),
            Deed::Phase => self.pushed(&self.phased, seen),
            Deed::Config | Deed::Scale => {
                eventually(Duration::from_mins(1), || {
                    let again = self.attempt(deed)?;
                    ensure!(again.code == 0, "{again:?}");
                    Ok(())
                })?;
                if deed == Deed::Scale {
                    state::settled(self.instance, &[&self.plain, &self.phased, self.witness])?;
                    self.plain.landfall(&["ps:scale", "web=1"]).ok()?;
                }
                Ok("done again")
            }
            Deed::Rollback => {
                // Going back twice is going somewhere else: only if it was not done.
                let recorded = eventually(Duration::from_secs(30), || Ok(self.plain.newest_release()?.0 > before))?;
                ensure!(recorded || seen != Seen::Accepted, "accepted and not done");
                if !recorded {
                    eventually(Duration::from_secs(30), || {
                        self.attempt(deed).and_then(|done| if done.code == 0 { Ok(()) } else { bail!("{done:?}") })
                    })?;
                }
                let back_to = self.went_back_to()?;
                let words = self.words.borrow().get(&back_to).cloned().with_context(|| format!("v{back_to} is unknown"))?;
                self.plain.answers_when(|answer| answer.body == words)?;
                Ok(if recorded { "was done" } else { "done again" })
            }
            Deed::Destroy => {
                let app = self.own.take().context("an app")?;
                let again = eventually(Duration::from_secs(30), || {
                    let again = app.landfall(&["apps:destroy", "-a", &app.name, "--confirm", &app.name]).done()?;
                    ensure!(again.code == 0 || again.stderr.contains("find that app"), "{again:?}");
                    Ok(again)
                })?;
                Ok(if again.code == 0 { "done again" } else { "was done" })
            }
            Deed::Boot(_) => Ok("started again"),
        }
    }

    /// Pushes until it is accepted; the words are served.
    fn pushed(&self, app: &App<'_>, seen: Seen) -> Result<&'static str> {
        let again = eventually(Duration::from_mins(1), || app.git(&["push", "landfall", "main"]).ok())?;
        let words = format!("round {}", self.round.get());
        app.answers_when(|answer| answer.body == words)?;
        released_once(app)?;
        ensure!(seen != Seen::Accepted || again.stderr.contains("Everything up-to-date"), "accepted, and then {}", again.stderr);
        Ok(match &again.stderr {
            log if log.contains("Everything up-to-date") => "up to date",
            log if log.contains("Going on with an earlier push") => "goes on",
            log if log.contains("deployed to Landfall") => "builds anew",
            log => bail!("{log}"),
        })
    }

    /// The release that the newest one went back to.
    fn went_back_to(&self) -> Result<u64> {
        let newest = self.plain.json(&["releases", "-n", "1", "--json"])?;
        let words = newest[0]["description"].as_str().unwrap_or_default();
        words.rsplit_once('v').and_then(|(_, version)| version.parse().ok()).with_context(|| words.to_owned())
    }
}

/// However often it was pushed, what was pushed last became one release that succeeded.
fn released_once(app: &App<'_>) -> Result<()> {
    let commit = app.git(&["rev-parse", "--short=8", "HEAD"]).ok()?.stdout;
    let words = format!("Deploy {}", commit.trim());
    let releases = app.json(&["releases", "-n", "20", "--json"])?;
    let of_it = releases.as_array().into_iter().flatten().filter(|release| release["description"] == words.as_str());
    let succeeded = of_it.filter(|release| release["status"] == "succeeded").count();
    ensure!(succeeded == 1, "{words} succeeded {succeeded} times: {releases}");
    Ok(())
}

/// The script ran once, or it is said that it did not run to its end: nobody knows how far it came, so nobody runs it again.
fn seeded_once(app: &App<'_>) -> Result<()> {
    eventually(Duration::from_secs(20), || {
        let log = app.log();
        let (ran, lost) = (log.matches("]: seeding").count(), log.matches("did not run to its end").count());
        ensure!(ran <= 1 && ran + lost >= 1 && lost <= 1, "ran {ran} times, lost {lost} times\n{log}");
        Ok(())
    })
}

/// The number of an app's current release.
fn current(app: &App<'_>) -> Result<u64> {
    let releases = app.json(&["releases", "-n", "20", "--json"])?;
    let current = releases.as_array().into_iter().flatten().find(|release| release["current"] == true);
    current.and_then(|release| release["version"].as_u64()).context("a current release")
}
