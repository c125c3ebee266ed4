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
    // More names than a source may have files, in one object: refused before it is read.
    let crowd: Vec<String> = (0..300).map(|number| format!("{number:0>40}")).collect();
    let mut crowd: Vec<Entry> = crowd.iter().map(|name| (Blob, &*String::leak(name.clone()), hi)).collect();
    crowd.insert(0, (Blob, "..", hi));
    let crowd = bench.tree(&crowd);
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
        bench.refusal(&[(Tree, "crowd", crowd), (Blob, "f", hi)]),
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

/// Ten directories in ten levels, each ten times the next: 10^10 files in eleven small objects.
#[test]
fn a_tree_that_multiplies_itself_is_refused_at_the_limit() {
    let bench = Bench::new();
    let names = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let leaf = bench.tree(&names.map(|name| (FileMode::Blob, name, bench.blob(b"x"))));
    let bomb = (0..9).fold(leaf, |inner, _| bench.tree(&names.map(|name| (FileMode::Tree, name, inner))));
    let limits = SourceLimits { entries: 5_000, ..SourceLimits::default() };
    let refused = bench.checkout(bomb, limits).unwrap_err();
    assert_eq!(refused.to_string(), "the source holds more than 5000 files");
}

/// Large files do not pass through this process's memory: 400 MB of them leave its peak where it was.
#[test]
fn large_files_arrive_whole_and_pass_memory_by() {
    let bench = Bench::new();
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB");
        line.parse::<u64>().unwrap()
    };
    let file = bench.dir.path().join("large");
    std::fs::File::create(&file).unwrap().set_len(400 << 20).unwrap();
    // git itself writes it, so that it is not in our memory either.
    let git =
        std::process::Command::new("git").arg("--git-dir").arg(bench.repo.path()).args(["hash-object", "-w"]).arg(&file).output().unwrap();
    let id = Oid::from_str(String::from_utf8(git.stdout).unwrap().trim()).unwrap();
    let tree = bench.tree(&[(FileMode::Blob, "large", id), (FileMode::BlobExecutable, "small", bench.blob(b"hi"))]);
    let before = peak();
    let made = bench.checkout(tree, SourceLimits::default()).unwrap();
    assert_eq!((made.bytes, made.entries), ((400 << 20) + 2, 2));
    assert_eq!(std::fs::metadata(bench.out().join("large")).unwrap().len(), 400 << 20);
    assert!(peak() < before + (64 << 10), "{} kB more", peak() - before);
}
