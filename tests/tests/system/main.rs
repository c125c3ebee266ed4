//! Whole-system tests: one binary, and a Landfall of its own for each of them, on SQLite or on PostgreSQL.

mod cases;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use landfall_tests::postgres::Postgres;
use landfall_tests::{Instance, Options};
use libtest_mimic::{Arguments, Failed, Trial};

/// The PostgreSQL of every test that wants one: started by the first, a database for each.
#[derive(Default)]
struct Databases(Mutex<Option<Postgres>>);

impl Databases {
    /// The address of a new, empty one.
    fn make(&self) -> Result<String> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match &mut *running {
            Some(running) => running,
            none => none.insert(Postgres::start()?),
        };
        running.database()
    }

    fn stop(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Runs a test on a Landfall of its own, which must leave nothing on the machine, whatever the test did to it.
fn on_its_own(set: &[(&str, &str)], database: Option<String>, test: fn(&Instance) -> Result<()>) -> Result<()> {
    let url = database.map(|url| ("store.url".to_owned(), url));
    let set = url.into_iter().chain(set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).collect();
    let instance = Instance::start(&Options { set, ..Options::default() })?;
    test(&instance)?;
    instance.landfall(&["down"]).ok()?;
    let traces = instance.traces()?;
    ensure!(traces.is_empty(), "left behind: {traces:?}");
    Ok(())
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores: more at once only makes every deadline harder to keep.
    arguments.test_threads.get_or_insert(2);
    let databases = Arc::new(Databases::default());
    // No database makes a difference to languages and terminals.
    let groups = [
        ("sqlite", false, &[][..], cases::EVERYDAY),
        ("postgres", true, &[], cases::EVERYDAY),
        ("languages", false, &[], cases::LANGUAGES),
        ("hasty", false, cases::HASTE, cases::HASTY),
    ];
    let failed = |error: anyhow::Error| Failed::from(format!("{error:#}"));
    let mut trials = Vec::new();
    for (group, postgres, set, cases) in groups {
        for (name, test) in cases {
            let databases = Arc::clone(&databases);
            trials.push(Trial::test(format!("{group}::{name}"), move || {
                let database = postgres.then(|| databases.make()).transpose().map_err(failed)?;
                on_its_own(set, database, *test).map_err(failed)
            }));
        }
    }
    for (name, test) in cases::OWN {
        trials.push(Trial::test(format!("own::{name}"), move || test().map_err(failed)));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    databases.stop();
    conclusion.exit_code()
}
