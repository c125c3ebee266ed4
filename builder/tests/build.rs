//! The promises of [`Builder::build`] whatever the sandbox does. The sandbox here only plays its part of the port; images are made for real in
//! the whole-system tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use landfall_builder::build::{Source, Stack};
use landfall_builder::push::LineSink;
use landfall_builder::sandbox::{ExportPlan, Exported, Killed, Sandbox, SandboxEnd, SandboxError, SandboxEvent, SandboxSpec};
use landfall_builder::{BuildConfig, BuildFailure, BuildOutcome, BuildRequest, Builder};
use landfall_lifecycle::report::{Report, ReportedBuildpack, ReportedProcess};
use landfall_model::{AppId, BuildId, ConfigVars, SecretString};
use tokio_util::sync::CancellationToken;

const CLEAN: SandboxEnd = SandboxEnd { code: 0, oom: false, killed: None };
const SECRET: &str = "hunter2hunter2";

/// Plays one end; keeps what it was told.
struct Scripted {
    end: Option<SandboxEnd>,
    started: Mutex<Vec<SandboxSpec>>,
    discarded: Mutex<Vec<BuildId>>,
}

impl Sandbox for Scripted {
    fn start(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<BoxStream<'static, SandboxEvent>, SandboxError>> {
        assert!(spec.source_dir.join("Procfile").is_file(), "the source is there when the build starts");
        self.started.lock().unwrap().push(spec);
        let output = stream::iter([b"-----> Python app".to_vec(), b" detected\n       no end".to_vec()].map(SandboxEvent::Output));
        // Without an end the build runs for ever.
        let end: BoxStream<'static, SandboxEvent> =
            self.end.map_or_else(|| stream::pending().boxed(), |end| stream::iter([SandboxEvent::Ended(end)]).boxed());
        async move { Ok(output.chain(end).boxed()) }.boxed()
    }

    fn file<'a>(&'a self, _build: BuildId, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, SandboxError>> {
        assert_eq!(path, "/layers/landfall-report.json");
        let process = |kind: &str, line: &str| ReportedProcess {
            kind: kind.to_owned(),
            command: vec!["bash".to_owned(), "-c".to_owned()],
            args: vec![line.to_owned()],
            ..ReportedProcess::default()
        };
        let report = Report {
            group: vec![ReportedBuildpack {
                id: "landfall/python".to_owned(),
                version: "1.0.0".to_owned(),
                ..ReportedBuildpack::default()
            }],
            processes: vec![process("web", "python app.py"), process("console", "python")],
            ..Report::default()
        };
        async move { Ok(Some(serde_json::to_vec(&report).unwrap())) }.boxed()
    }

    fn commit(&self, _build: BuildId, plan: ExportPlan) -> BoxFuture<'_, Result<Exported, SandboxError>> {
        assert_eq!(plan.base, "sha256:run");
        async { Ok(Exported { digest: "sha256:image".to_owned(), layers: Vec::new(), size_bytes: 123_456_789, app_bytes: 34_000 }) }.boxed()
    }

    fn discard(&self, build: BuildId) -> BoxFuture<'_, Result<(), SandboxError>> {
        self.discarded.lock().unwrap().push(build);
        async { Ok(()) }.boxed()
    }
}

#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl LineSink for Kept {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

struct Bench {
    dir: tempfile::TempDir,
    sandbox: Arc<Scripted>,
    builder: Arc<Builder>,
    lines: Arc<Kept>,
}

impl Bench {
    fn new(end: Option<SandboxEnd>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Arc::new(Scripted { end, started: Mutex::default(), discarded: Mutex::default() });
        let config = BuildConfig { builds: dir.path().join("builds"), concurrency: 1, ..BuildConfig::default() };
        let builder = Arc::new(Builder::new(config, sandbox.clone()));
        Self { dir, sandbox, builder, lines: Arc::default() }
    }

    fn request(&self, files: &[(&str, &str)]) -> BuildRequest {
        let path = self.dir.path().join(format!("{}.tgz", BuildId::new()));
        let mut archive =
            tar::Builder::new(flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast()));
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        BuildRequest {
            build: BuildId::new(),
            app: AppId::new(),
            app_name: "blog".to_owned(),
            user_block: 1,
            source: Source::Tarball { path, version: Some("1a2b3c".to_owned()) },
            stack: Stack {
                name: "landfall-13".to_owned(),
                build_image: "sha256:build".to_owned(),
                run_image: "sha256:run".to_owned(),
                distro_name: "debian".to_owned(),
                distro_version: "13".to_owned(),
            },
            config: ConfigVars([("TOKEN".parse().unwrap(), SecretString::new(SECRET))].into()),
            cache: None,
        }
    }

    async fn build(&self, request: BuildRequest) -> Result<BuildOutcome, BuildFailure> {
        self.builder.build(request, self.lines.clone(), CancellationToken::new()).await
    }

    fn shown(&self) -> String {
        self.lines.0.lock().unwrap().join("\n")
    }

    fn log(&self, build: BuildId) -> PathBuf {
        self.dir.path().join("builds").join(build.to_string()).join("log")
    }

    fn source(&self, build: BuildId) -> PathBuf {
        self.dir.path().join("builds").join(build.to_string()).join("source")
    }
}

const APP: [(&str, &str); 2] = [("Procfile", "web: python app.py\n"), ("app.py", "x")];

#[tokio::test]
async fn a_good_build() {
    let bench = Bench::new(Some(CLEAN));
    let request = bench.request(&APP);
    let build = request.build;
    let outcome = bench.build(request).await.unwrap();
    assert_eq!((outcome.image.as_str(), outcome.version.as_deref()), ("sha256:image", Some("1a2b3c")));
    let processes: Vec<_> = outcome.processes.iter().map(|p| (p.process_type.as_str(), p.command.as_str())).collect();
    assert_eq!(processes, [("console", "python"), ("web", "python app.py")]);
    insta::assert_snapshot!(bench.shown());
    assert_eq!(std::fs::read_to_string(bench.log(build)).unwrap(), bench.shown() + "\n");
    assert_eq!(*bench.sandbox.discarded.lock().unwrap(), [build]);
    assert!(!bench.source(build).exists());
    let spec = bench.sandbox.started.lock().unwrap().pop().unwrap();
    assert!(spec.files.iter().any(|file| file.content == SECRET.as_bytes()));
    assert!(!format!("{spec:?}{outcome:?}{}", outcome.cache.to_json()).contains(SECRET));
}

#[tokio::test]
async fn every_failure_has_words_and_leaves_nothing() {
    let killed = |reason| SandboxEnd { code: 137, oom: false, killed: Some(reason) };
    let mut shown = String::new();
    for end in [
        SandboxEnd { code: 20, ..CLEAN },
        SandboxEnd { code: 51, ..CLEAN },
        SandboxEnd { code: 137, oom: true, killed: None },
        killed(Killed::Time),
        killed(Killed::Disk),
        killed(Killed::Tree),
        killed(Killed::HostDisk),
        killed(Killed::Shim),
    ] {
        let bench = Bench::new(Some(end));
        let request = bench.request(&APP);
        let build = request.build;
        let failure = bench.build(request).await.unwrap_err();
        writeln!(shown, "{}\n    {}", failure.code(), failure.explain().join("\n    ")).unwrap();
        assert_eq!(*bench.sandbox.discarded.lock().unwrap(), [build]);
        assert!(!bench.source(build).exists());
        let log = std::fs::read_to_string(bench.log(build)).unwrap();
        assert!(log.contains("       no end\n") && log.ends_with(&format!(" !     {}\n", failure.explain().last().unwrap())), "{log}");
    }
    for files in [[("Procfile", "web python app.py")], [("app.json", "{\n  \"env\": [] }")]] {
        let bench = Bench::new(Some(CLEAN));
        let failure = bench.build(bench.request(&files)).await.unwrap_err();
        writeln!(shown, "{}\n    {}", failure.code(), failure.explain().join("\n    ")).unwrap();
        assert!(bench.sandbox.started.lock().unwrap().is_empty(), "nothing is started for a file that is wrong");
    }
    insta::assert_snapshot!(shown);
}

#[tokio::test]
async fn a_cancelled_build_is_killed_and_the_next_one_gets_its_place() {
    let bench = Bench::new(None);
    let (first, second) = (bench.request(&APP), bench.request(&APP));
    let (first_id, second_id) = (first.build, second.build);
    let run = |request, cancel: CancellationToken| {
        let (builder, lines) = (bench.builder.clone(), bench.lines.clone());
        tokio::spawn(async move { builder.build(request, lines, cancel).await })
    };
    let cancel_first = CancellationToken::new();
    let first = run(first, cancel_first.clone());
    until(|| bench.sandbox.started.lock().unwrap().len() == 1).await;
    let cancel_second = CancellationToken::new();
    let second = run(second, cancel_second.clone());
    until(|| bench.shown().contains("Waiting for 1 other build(s) on this machine to end")).await;
    assert_eq!(bench.sandbox.started.lock().unwrap().len(), 1, "one at a time");
    cancel_first.cancel();
    assert!(matches!(first.await.unwrap(), Err(BuildFailure::Cancelled)));
    assert_eq!(*bench.sandbox.discarded.lock().unwrap(), [first_id]);
    assert!(!bench.source(first_id).exists());
    until(|| bench.sandbox.started.lock().unwrap().len() == 2).await;
    // A task that is dropped half-way cleans up as well.
    second.abort();
    until(|| bench.sandbox.discarded.lock().unwrap().contains(&second_id) && !bench.source(second_id).exists()).await;
}

#[tokio::test]
async fn trees_that_a_crash_left_are_removed() {
    let bench = Bench::new(None);
    bench.builder.tidy().unwrap();
    let left = bench.source(BuildId::new());
    std::fs::create_dir_all(left.join("deep")).unwrap();
    std::os::unix::fs::symlink("/etc", left.join("etc")).unwrap();
    bench.builder.tidy().unwrap();
    assert!(!left.exists() && left.parent().unwrap().exists() && std::path::Path::new("/etc/passwd").exists());
}

async fn until(mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
