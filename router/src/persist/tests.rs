use proptest::prelude::*;

use super::*;
use crate::control::{Backend, Mode};
use crate::routes::Routes;

fn app(id: u8, dyno: u8) -> AppRoutes {
    let backends = vec![Backend { id: format!("b-{id}-{dyno}"), addr: ([127, 0, 0, dyno], 5000).into(), dyno: "web.1".into() }];
    AppRoutes { id: format!("app-{id}"), name: format!("name-{id}"), hosts: vec![], log_dir: None, mode: Mode::Serving, backends }
}

fn table(routes: &Routes) -> Table {
    let (generation, apps) = routes.snapshot();
    Table { generation, apps: apps.iter().map(|app| serde_json::from_str(app).unwrap()).collect() }
}

/// A router's table and its files.
struct Kept {
    routes: Routes,
    file: TableFile,
}

impl Kept {
    fn open(path: &Path) -> Self {
        let (file, table) = TableFile::open(path.to_owned(), "this boot".to_owned()).unwrap();
        let routes = Routes::new(vec![]);
        routes.replace_table(&table);
        Self { routes, file }
    }

    fn change(&mut self, change: &Operation) {
        match change.clone() {
            Operation::ReplaceApp { generation, app } => self.routes.replace_app(generation, &app).unwrap(),
            Operation::RemoveApp { generation, app } => self.routes.remove_app(generation, &app).unwrap(),
            Operation::ReplaceTable { table } => self.routes.replace_table(&table),
            _ => unreachable!(),
        }
        self.file.change(change, || self.routes.snapshot()).unwrap();
    }
}

fn operation() -> impl Strategy<Value = (u8, u8, u8)> {
    (0..8u8, 0..6u8, 1..9u8)
}

fn make(generation: u64, (kind, id, dyno): (u8, u8, u8)) -> Operation {
    match kind {
        0 => Operation::ReplaceTable { table: Table { generation, apps: (0..id).map(|id| app(id, dyno)).collect() } },
        1 | 2 => Operation::RemoveApp { generation, app: format!("app-{id}") },
        _ => Operation::ReplaceApp { generation, app: app(id, dyno) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What was confirmed is there after a restart, at any point of any history.
    #[test]
    fn every_confirmed_change_is_found_again(steps in proptest::collection::vec((operation(), any::<bool>()), 1..24)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.json");
        let mut kept = Kept::open(&path);
        for (at, (step, restart)) in steps.into_iter().enumerate() {
            kept.change(&make(at as u64 + 1, step));
            if restart {
                let before = table(&kept.routes);
                kept = Kept::open(&path);
                prop_assert_eq!(table(&kept.routes), before);
            }
        }
    }

    /// A crash in the middle of writing a line costs this line only; one before the new journal is begun costs nothing.
    #[test]
    fn a_torn_journal_is_its_whole_lines(steps in proptest::collection::vec((2..8u8, 0..6u8, 1..9u8), 1..16), cut: proptest::sample::Index) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.json");
        let mut kept = Kept::open(&path);
        kept.change(&make(1, (0, 3, 1)));
        let mut states = vec![table(&kept.routes)];
        for (at, step) in steps.into_iter().enumerate() {
            kept.change(&make(at as u64 + 2, step));
            states.push(table(&kept.routes));
        }
        let journal = std::fs::read(journal_of(&path)).unwrap();
        let torn = &journal[..cut.index(journal.len() + 1)];
        std::fs::write(journal_of(&path), torn).unwrap();
        let lines = memchr::memchr_iter(b'\n', torn).count();
        prop_assert_eq!(&table(&Kept::open(&path).routes), &states[lines.saturating_sub(1)]);

        std::fs::write(journal_of(&path), &journal).unwrap();
        let mut kept = Kept::open(&path);
        kept.change(&make(99, (0, 2, 2)));
        std::fs::write(journal_of(&path), &journal).unwrap();
        prop_assert_eq!(table(&Kept::open(&path).routes), table(&kept.routes), "an older journal counts for nothing");
    }
}

#[test]
fn a_journal_does_not_grow_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.json");
    let mut kept = Kept::open(&path);
    kept.change(&make(1, (0, 1, 1)));
    kept.file.journal = Some(Journal { file: File::create(journal_of(&path)).unwrap(), bytes: 2 * JOURNAL_BYTES });
    kept.change(&make(2, (3, 1, 7)));
    assert!(kept.file.journal.is_none(), "a whole table was written");
    assert_eq!(table(&Kept::open(&path).routes), table(&kept.routes));
}

/// The form before there was a journal, and what is left of it after a full disk.
#[test]
fn older_files_and_broken_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.json");
    let old = Table { generation: 7, apps: vec![app(1, 1)] };
    std::fs::write(&path, serde_json::to_vec(&old).unwrap()).unwrap();
    std::fs::write(journal_of(&path), "{\"epoch\":0}\n").unwrap();
    let read = TableFile::open(path.clone(), String::new()).unwrap().1;
    assert_eq!(read, old);
    std::fs::write(&path, "{\"generation\":7,\"ap").unwrap();
    TableFile::open(path, String::new()).unwrap_err();
}

#[test]
fn after_a_reboot_only_the_hosts_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.json");
    let mut kept = Kept::open(&path);
    kept.change(&make(1, (0, 2, 1)));
    kept.change(&make(2, (3, 7, 1)));
    let (file, table) = TableFile::open(path.clone(), "the next boot".to_owned()).unwrap();
    assert_eq!(table.apps.len(), 3, "{table:?}");
    assert!(table.apps.iter().all(|app| app.backends.is_empty()), "{table:?}");
    let (_, again) = TableFile::open(path.clone(), "the next boot".to_owned()).unwrap();
    assert_eq!(again, table, "nothing was told yet");

    let mut after = Kept { routes: Routes::new(vec![]), file };
    after.routes.replace_table(&table);
    after.change(&make(3, (3, 1, 4)));
    let (_, told) = TableFile::open(path, "the next boot".to_owned()).unwrap();
    assert_eq!(told.apps.iter().map(|app| app.backends.len()).sum::<usize>(), 1, "what was told since counts: {told:?}");
}
