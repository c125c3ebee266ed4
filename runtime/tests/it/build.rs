//! Build, read a file, commit, reuse; limits; hanging up.

use std::path::PathBuf;
use std::time::Duration;

use landfall_runtime::client::{BuildOutput, BuildSession};
use landfall_runtime::wire::build::{
    BuildOutcome, BuildSpec, ExportApp, ExportLayer, ExportPlan, ExtraContent, ExtraEntry, KillReason, LayerRef,
};
use landfall_runtime::wire::image::ImageConfig;
use landfall_runtime::wire::{ContainerId, FileMount, UserBlock};

use crate::harness::{Instance, drain, limits};

pub(crate) fn spec(instance: &Instance, id: &str, script: &str) -> BuildSpec {
    let source = instance.dir.path().join(format!("source-{id}"));
    std::fs::create_dir_all(source.join("sub")).unwrap();
    std::fs::write(source.join("Procfile"), "web: run\n").unwrap();
    std::fs::write(source.join("sub/x.js"), "x").unwrap();
    BuildSpec {
        id: ContainerId::try_from(id.to_owned()).unwrap(),
        labels: std::collections::BTreeMap::default(),
        image: "busybox:1".to_owned(),
        user_block: UserBlock(3),
        limits: limits(),
        source_dir: source,
        app_dir: "/app".into(),
        restored: Vec::new(),
        seed: vec![FileMount { path: "/layers/bp/deps.toml".into(), mode: 0o644, content: b"seed".to_vec() }],
        files: vec![FileMount { path: "/platform/env/SECRET".into(), mode: 0o400, content: b"s3cret".to_vec() }],
        binds: Vec::new(),
        args: ["sh", "-c", script].map(str::to_owned).into(),
        env: Vec::new(),
    }
}

pub(crate) async fn finish(session: &mut BuildSession) -> (String, BuildOutcome) {
    let mut text = Vec::new();
    let work = async {
        loop {
            match session.next().await.unwrap() {
                BuildOutput::Stdout(bytes) | BuildOutput::Stderr(bytes) => text.extend_from_slice(&bytes),
                BuildOutput::Finished(outcome) => return outcome,
            }
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(30), work).await.expect("the build ended in time");
    (String::from_utf8_lossy(&text).into_owned(), outcome)
}

pub(crate) fn plan(reuse: Option<String>) -> ExportPlan {
    ExportPlan {
        base: "busybox:1".to_owned(),
        layers: vec![ExportLayer { path: "/layers/bp/deps".into(), reuse, in_image: true }],
        app: Some(ExportApp { dir: "/app".into(), slices: vec![vec!["sub/**".to_owned()]] }),
        extra: vec![
            ExtraEntry { path: "/cnb/note".into(), content: ExtraContent::Bytes { content: b"note".to_vec(), mode: 0o644 } },
            ExtraEntry { path: "/cnb/process/web".into(), content: ExtraContent::Link { to: "/bin/cat".into() } },
        ],
        config: ImageConfig { user: Some("1000:1000".to_owned()), working_dir: Some("/app".to_owned()), ..ImageConfig::default() },
        reference: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_becomes_an_image_and_the_next_reuses_its_layer() {
    let instance = Instance::new().await;
    let script = "id -u; cat /platform/env/SECRET /layers/bp/deps.toml Procfile; echo made > made; \
                  mkdir -p /layers/bp/deps/lib; echo lib > /layers/bp/deps/lib/a; echo err >&2; echo report > /layers/report.json";
    let first = spec(&instance, "b1", script);
    let id = first.id.clone();
    let mut session = instance.agent.build(first.clone()).await.unwrap();
    let (text, outcome) = finish(&mut session).await;
    assert_eq!((outcome.status.code, outcome.killed), (0, None), "{text}");
    for part in ["1000\n", "s3cret", "seed", "web: run", "err"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!first.source_dir.join("made").exists(), "the source itself is never changed");
    assert_eq!(instance.agent.build_file(&id, "/layers/report.json", 100).await.unwrap().as_deref(), Some(b"report\n".as_slice()));
    assert_eq!(instance.agent.build_file(&id, "/layers/none", 100).await.unwrap(), None);
    assert!(instance.agent.build_file(&id, "/layers/report.json", 2).await.is_err());
    assert!(instance.agent.build_file(&id, "/bin/sh", 1 << 20).await.is_err(), "links are not followed");

    let image = instance.agent.build_commit(&id, plan(None)).await.unwrap();
    assert!(!image.layers[0].unchanged && image.app.len() == 2);
    drop(session);
    let mut run = instance
        .spec("run-1", &["sh", "-c", "cat made sub/x.js /layers/bp/deps/lib/a /cnb/note; ls /platform; ls -l /cnb/process/web; id -u"]);
    run.image.clone_from(&image.digest);
    run.stdio = landfall_runtime::wire::Stdio::Pipes;
    let container = instance.agent.start(run).await.unwrap();
    let (text, _) = drain(instance.agent.attach(&container.id).await.unwrap()).await;
    assert!(text.starts_with("made\nxlib\nnote") && text.contains("1000") && !text.contains("SECRET"), "{text}");

    let mut second = spec(&instance, "b2", "cat /layers/bp/deps/lib/a");
    second.restored = vec![LayerRef { path: "/layers/bp/deps".into(), diff_id: image.layers[0].layer.diff_id.clone() }];
    let mut session = instance.agent.build(second).await.unwrap();
    let (text, outcome) = finish(&mut session).await;
    assert_eq!((text.as_str(), outcome.status.code), ("lib\n", 0));
    let reuse = Some(image.layers[0].layer.diff_id.clone());
    let again = instance.agent.build_commit(&ContainerId::try_from("b2".to_owned()).unwrap(), plan(reuse.clone())).await.unwrap();
    assert!(again.layers[0].unchanged);
    assert_eq!(again.layers[0].layer, image.layers[0].layer);
    assert_eq!(again.app[0].layer, image.app[0].layer, "equal content has an equal id");
    drop(session);

    let mut third = spec(&instance, "b3", "echo more > /layers/bp/deps/lib/b");
    third.restored = vec![LayerRef { path: "/layers/bp/deps".into(), diff_id: reuse.clone().unwrap() }];
    let mut session = instance.agent.build(third).await.unwrap();
    finish(&mut session).await;
    let changed = instance.agent.build_commit(&ContainerId::try_from("b3".to_owned()).unwrap(), plan(reuse)).await.unwrap();
    assert!(!changed.layers[0].unchanged && changed.layers[0].layer.diff_id != image.layers[0].layer.diff_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_end_a_build_and_say_which() {
    let instance = Instance::with(|config| config.limits.disk_check = Duration::from_millis(50)).await;
    let mut slow = spec(&instance, "slow", "sleep 600");
    slow.limits.wall_ms = Some(300);
    let mut session = instance.agent.build(slow).await.unwrap();
    assert_eq!(finish(&mut session).await.1.killed, Some(KillReason::Time));
    let mut big = spec(&instance, "big", "dd if=/dev/zero of=/app/big bs=1M count=64; sleep 600");
    big.limits.disk_bytes = Some(8 << 20);
    let mut session = instance.agent.build(big).await.unwrap();
    assert_eq!(finish(&mut session).await.1.killed, Some(KillReason::Disk));
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_up_leaves_nothing() {
    let instance = Instance::new().await;
    let mut session = instance.agent.build(spec(&instance, "drop", "echo up; sleep 614")).await.unwrap();
    assert_eq!(session.next().await.unwrap(), BuildOutput::Stdout("up\n".into()));
    drop(session);
    let paths: [PathBuf; 2] = [instance.config.container_run_dir("drop"), instance.config.container_data_dir("drop")];
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while paths.iter().any(|path| path.exists()) {
        assert!(std::time::Instant::now() < until, "the build is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let alive = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|entry| std::fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line.contains("sleep\x00614")));
    assert!(!alive);
}
