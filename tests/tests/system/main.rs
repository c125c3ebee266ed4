//! Whole-system tests: one binary, one Landfall on SQLite and one on PostgreSQL for most of them, one for the languages, their own for those
//! that break things.

mod cases;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use landfall_tests::postgres::Postgres;
use landfall_tests::{Instance, Options};
use libtest_mimic::{Arguments, Failed, Trial};

/// Lazily started, shared by the tests of one database, dropped before the program ends.
struct Shared {
    postgres: bool,
    set: &'static [(&'static str, &'static str)],
    running: Mutex<Option<(Arc<Instance>, Option<Postgres>)>>,
}

impl Shared {
    fn instance(&self) -> anyhow::Result<Arc<Instance>> {
        let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((instance, _)) = &*running {
            return Ok(Arc::clone(instance));
        }
        let database = self.postgres.then(Postgres::start).transpose()?;
        let url = database.iter().map(|database| ("store.url".to_owned(), database.url()));
        let set = url.chain(self.set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).collect();
        let instance = Arc::new(Instance::start(&Options { set, ..Options::default() })?);
        *running = Some((Arc::clone(&instance), database));
        Ok(instance)
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Two cores: more at once only makes every deadline harder to keep.
    arguments.test_threads.get_or_insert(2);
    // The languages' builds are slow beside the others', and no database makes a difference to them.
    let groups = [
        ("sqlite", false, &[][..], cases::SHARED),
        ("postgres", true, &[], cases::SHARED),
        ("languages", false, &[], cases::LANGUAGES),
        ("hasty", false, cases::HASTE, cases::HASTY),
    ];
    let shared = groups.map(|(name, postgres, set, cases)| (name, Arc::new(Shared { postgres, set, running: Mutex::new(None) }), cases));
    let mut trials = Vec::new();
    for (group, shared, cases) in &shared {
        for (name, test) in *cases {
            let shared = Arc::clone(shared);
            trials.push(Trial::test(format!("{group}::{name}"), move || {
                let instance = shared.instance().map_err(|error| Failed::from(format!("{error:#}")))?;
                test(&instance).map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    for (name, test) in cases::OWN {
        trials.push(Trial::test(format!("own::{name}"), move || test().map_err(|error| Failed::from(format!("{error:#}")))));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let mut code = conclusion.exit_code();
    for (name, shared, _) in shared {
        let Some((instance, database)) = shared.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() else { continue };
        let down = instance.landfall(&["down"]).ok();
        let traces = instance.traces();
        if !matches!((&down, &traces), (Ok(_), Ok(traces)) if traces.is_empty()) {
            eprintln!("the {name} instance left something behind: {down:?} {traces:?}");
            code = ExitCode::FAILURE;
        }
        drop(instance);
        drop(database);
    }
    code
}
