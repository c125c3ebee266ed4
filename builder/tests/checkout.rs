//! Commits that a hostile client could make, written by git2 without git's own checks, and what becomes of them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::path::Path;

use git2::{FileMode, ObjectType, Oid, Repository};
use landfall_builder::push::PushedObjects;
use landfall_builder::source::{SourceError, SourceLimits, Tree, checkout};

/// A raw tree entry: mode, name, id.
type Entry = (FileMode, &'static str, Oid);

struct Bench {
    dir: tempfile::TempDir,
    repo: Repository,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repository::init_bare(dir.path().join("r.git")).unwrap();
        Self { dir, repo }
    }

    fn blob(&self, content: &[u8]) -> Oid {
        self.repo.blob(content).unwrap()
    }

    fn tree(&self, entries: &[Entry]) -> Oid {
        let mut raw = Vec::new();
        for (mode, name, id) in entries {
            raw.extend_from_slice(format!("{:o} {name}\0", u32::try_from(i32::from(*mode)).unwrap()).as_bytes());
            raw.extend_from_slice(id.as_bytes());
        }
        self.repo.odb().unwrap().write(ObjectType::Tree, &raw).unwrap()
    }

    fn checkout(&self, tree: Oid, limits: SourceLimits) -> Result<Tree, SourceError> {
        let commit = format!("tree {tree}\nauthor A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nx\n");
        let commit = self.repo.odb().unwrap().write(ObjectType::Commit, commit.as_bytes()).unwrap();
        let objects = PushedObjects { repo: self.repo.path().to_owned(), quarantine: Vec::new() };
        let dest = self.out();
        let _ = std::fs::remove_dir_all(&dest);
        checkout(&objects, &commit.to_string(), &dest, limits)
    }

    fn out(&self) -> std::path::PathBuf {
        self.dir.path().join("out")
    }

    fn refusal(&self, entries: &[Entry]) -> String {
        let limits = SourceLimits { bytes: 5000, entries: 50, depth: 4 };
        match self.checkout(self.tree(entries), limits) {
            Err(error) => error.explain()[1].clone(),
            Ok(tree) => panic!("taken: {tree:?}"),
        }
    }
}

#[test]
fn hostile_trees_are_refused_in_words() {
    use FileMode::{Blob, Link, Tree};
    let bench = Bench::new();
    let hi = bench.blob(b"hi");
    let target = |text: &str| bench.blob(text.as_bytes());
    let deep = (0..6).fold(bench.tree(&[(Blob, "f", hi)]), |inner, _| bench.tree(&[(Tree, "d", inner)]));
    let inner = bench.tree(&[(Blob, "passwd", hi)]);
    let many: Vec<Entry> = ["a", "b", "c"].map(|name| (Blob, name, bench.blob(&[b'x'; 2000]))).into();
    let table = [
        bench.refusal(&[(Blob, "..", hi)]),
        bench.refusal(&[(Blob, "a/../../x", hi)]),
        bench.refusal(&[(Blob, "/etc/x", hi)]),
        bench.refusal(&[(Tree, "..", inner)]),
        bench.refusal(&[(Tree, ".GIT", inner)]),
        bench.refusal(&[(Tree, "top", deep)]),
        bench.refusal(&[(Link, "dev", target("/dev"))]),
        bench.refusal(&[(Link, "up", target("../x"))]),
        bench.refusal(&[(Link, "etc", target("d")), (Tree, "etc", inner)]),
        bench.refusal(&[(Blob, "twice", hi), (Blob, "twice", hi)]),
        bench.refusal(&[(Link, "endless", bench.blob(&[b'a'; 5000]))]),
        bench.refusal(&[(Blob, "big", bench.blob(&[0; 6000]))]),
        bench.refusal(&many),
        bench.refusal(&[(Blob, "a\u{1b}[31m", inner)]),
        bench.refusal(&[]),
    ];
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn a_plain_tree_arrives_whole() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let hi = bench.blob(b"hi");
    let tree = bench.tree(&[
        (FileMode::Blob, ".slugignore", bench.blob(b"*.psd\n")),
        (FileMode::Blob, "a.psd", hi),
        (FileMode::Link, "here", bench.blob(b"sub/run")),
        (FileMode::Commit, "module", hi),
        (FileMode::Tree, "sub", bench.tree(&[(FileMode::BlobExecutable, "run", hi)])),
        (FileMode::Link, "within", bench.blob(b"/app/sub")),
    ]);
    let made = bench.checkout(tree, SourceLimits::default()).unwrap();
    let at = |name: &str| bench.out().join(name);
    assert_eq!(std::fs::read(at("here")).unwrap(), b"hi");
    assert_eq!(std::fs::read_link(at("within")).unwrap(), Path::new("/app/sub"));
    assert_eq!(std::fs::metadata(at("sub/run")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::metadata(at(".slugignore")).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(!at("a.psd").exists());
    assert!(std::fs::read_dir(at("module")).unwrap().next().is_none());
    assert_eq!(made.warnings, ["\"module\" is a git submodule: it is not fetched, the app gets an empty directory."]);
}
