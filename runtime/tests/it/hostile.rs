//! Builds and dynos that try to reach the host, or to choke it, with what they leave on disk (trust rules S7, S8, S12).

use std::time::Duration;

use landfall_runtime::wire::ContainerId;
use landfall_runtime::wire::agent::FaultCode;
use landfall_runtime::wire::build::{ExportLayer, ExportPlan, KillReason, LayerRef};

use crate::build::{finish, plan, spec};
use crate::harness::{Instance, exec};

/// Directories nested deeper than a name reaches.
const NEST: &str = "n=0; p=d; while [ $n -lt 999 ]; do p=$p/d; n=$((n+1)); done; \
                    for i in 1 2 3; do mkdir -p $p && cd -P $p || exit 1; done";

fn id(text: &str) -> ContainerId {
    ContainerId::try_from(text.to_owned()).unwrap()
}

fn layer(path: &str) -> ExportPlan {
    let layers = vec![ExportLayer { path: path.into(), reuse: None, in_image: true }];
    ExportPlan { layers, app: None, ..plan(None) }
}

/// The agent is root and looks at the build's directories from outside: a link in them must not lead it to the host's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_among_a_builds_layers_leads_nowhere() {
    let instance = Instance::new().await;
    let victim = instance.dir.path().join("victim");
    std::fs::create_dir_all(victim.join("deps")).unwrap();
    std::fs::write(victim.join("deps/secret"), "the host's").unwrap();
    let script = format!("ln -s {} /layers/evil; ln -s /etc /layers/etc", victim.display());
    let mut session = instance.agent.build(spec(&instance, "link", &script)).await.unwrap();
    finish(&mut session).await;
    for path in ["/layers/evil/deps", "/layers/evil", "/layers/etc"] {
        let refused = instance.agent.build_commit(&id("link"), layer(path)).await.unwrap_err();
        assert_eq!(refused.fault_code(), Some(FaultCode::NotFound), "{path}: {refused}");
    }
    drop(session);

    // The same where a restored layer lies below, which is read through the merged view.
    let mut session =
        instance.agent.build(spec(&instance, "good", "mkdir -p /layers/evil/deps; echo mine > /layers/evil/deps/a")).await.unwrap();
    finish(&mut session).await;
    let good = instance.agent.build_commit(&id("good"), layer("/layers/evil/deps")).await.unwrap();
    drop(session);
    let script = format!("rm -r /layers/evil; ln -s {} /layers/evil; ls -l /layers/evil/", victim.display());
    let mut second = spec(&instance, "below", &script);
    second.restored = vec![LayerRef { path: "/layers/evil/deps".into(), diff_id: good.layers[0].layer.diff_id.clone() }];
    let mut session = instance.agent.build(second).await.unwrap();
    let (said, _) = finish(&mut session).await;
    assert!(!said.contains("deps"), "inside, the link leads to nothing: {said}");
    let refused = instance.agent.build_commit(&id("below"), layer("/layers/evil/deps")).await.unwrap_err();
    assert_eq!(refused.fault_code(), Some(FaultCode::NotFound), "{refused}");
    assert_eq!(std::fs::read_to_string(victim.join("deps/secret")).unwrap(), "the host's");
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_that_cannot_be_kept_are_refused_after_the_build_too() {
    // Never looked at while they run.
    let instance = Instance::with(|config| {
        config.limits.disk_check = Duration::from_mins(10);
        config.limits.build_files = 500;
    })
    .await;
    for (name, script, reason) in [
        ("deep", NEST, KillReason::Tree),
        ("many", "n=0; while [ $n -lt 600 ]; do : > f$n; n=$((n+1)); done", KillReason::Tree),
        ("holes", "truncate -s 1099511627776 /app/hole", KillReason::Disk),
    ] {
        let mut session = instance.agent.build(spec(&instance, name, script)).await.unwrap();
        let (said, outcome) = finish(&mut session).await;
        assert_eq!((outcome.status.code, outcome.killed), (0, Some(reason)), "{name}: {said}");
        drop(session);
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while instance.config.container_data_dir(name).exists() {
            assert!(std::time::Instant::now() < until, "{name} is still there");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Nobody would see what they say: no digest covers them.
#[tokio::test(flavor = "multi_thread")]
async fn attributes_that_a_build_set_are_in_no_layer() {
    let instance = Instance::new().await;
    let script = "mkdir -p /layers/bp/deps/lib; echo x > /layers/bp/deps/lib/x";
    let mut session = instance.agent.build(spec(&instance, "attributes", script)).await.unwrap();
    finish(&mut session).await;
    // As its programs could have done; busybox has no tool for it.
    let upper = instance.config.container_data_dir("attributes").join("upper");
    for path in ["layers/bp/deps", "layers/bp/deps/lib/x"] {
        rustix::fs::lsetxattr(upper.join(path), "user.note", b"x", rustix::fs::XattrFlags::empty()).unwrap();
    }
    let image = instance.agent.build_commit(&id("attributes"), layer("/layers/bp/deps")).await.unwrap();
    drop(session);
    let hex = image.layers[0].layer.diff_id.trim_start_matches("sha256:").to_owned();
    let kept = instance.config.images_dir().join("layers").join(hex).join("fs");
    for path in ["layers/bp/deps", "layers/bp/deps/lib", "layers/bp/deps/lib/x"] {
        assert_eq!(rustix::fs::llistxattr_query(kept.join(path)).unwrap(), 0, "{path}");
    }
}

/// An image says who its programs run as. Its root is no root here, and its files of users are read as files of a stranger.
#[tokio::test(flavor = "multi_thread")]
async fn the_root_of_an_image_is_nobody_on_the_host() {
    let instance = Instance::new().await;
    let image = async |user: &str| {
        let mut session =
            instance.agent.build(spec(&instance, "users", "mkdir -p /layers/bp/deps; echo x > /layers/bp/deps/x")).await.unwrap();
        finish(&mut session).await;
        let mut plan = ExportPlan { app: None, ..plan(None) };
        plan.config.user = Some(user.to_owned());
        let digest = instance.agent.build_commit(&id("users"), plan).await.unwrap().digest;
        drop(session);
        // The name is free again when the build is gone.
        instance.agent.build_discard(&id("users")).await.unwrap();
        digest
    };
    for (name, user, inside) in
        [("by-name", "root", "0:0"), ("by-number", "0", "0:0"), ("app", "app", "1000:1000"), ("group", "1000:7", "1000:7")]
    {
        let mut container = instance.spec(name, &["sleep", "600"]);
        container.image = image(user).await;
        instance.agent.start(container).await.unwrap();
        let (said, _) = exec(&instance, name, &["sh", "-c", "echo $(id -u):$(id -g)"]).await;
        assert_eq!(said.trim(), inside);
        let pid = crate::network::first_process(&instance, name);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uid: u32 =
            status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap().split_whitespace().next().unwrap().parse().unwrap();
        assert!((165_536..231_072).contains(&uid), "on the host it is {uid}");
    }
    for user in ["nobody-knows", "70000", "0:70000"] {
        let mut container = instance.spec("bad", &["true"]);
        container.image = image(user).await;
        let refused = instance.agent.start(container).await.unwrap_err();
        assert_eq!(refused.fault_code(), Some(FaultCode::Invalid), "{user}: {refused}");
    }
}

/// A dyno may nest directories as deep as it has inodes. Removing it must neither fail nor take the agent along.
#[tokio::test(flavor = "multi_thread")]
async fn a_dyno_with_an_endless_directory_goes_like_any_other() {
    let instance = Instance::with(|config| config.limits.disk_check = Duration::from_mins(10)).await;
    let info = instance.agent.start(instance.spec("deep", &["sleep", "600"])).await.unwrap();
    assert_eq!(exec(&instance, "deep", &["sh", "-c", &format!("cd /tmp; {NEST}; echo nested")]).await, ("nested\n".to_owned(), 0));
    instance.agent.remove(&info.id).await.unwrap();
    assert!(!instance.config.container_data_dir("deep").exists());
    instance.agent.ping().await.unwrap();
}
