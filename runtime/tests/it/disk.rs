//! What a container may write, and what becomes of one that writes more (trust rule S14).

use std::time::Duration;

use landfall_runtime::AgentConfig;
use landfall_runtime::wire::{ContainerState, Stdio};

use crate::harness::{Instance, drain, exec, exited};

/// 16 MiB, and so 1,024 files; looked at twenty times a second.
fn small(config: &mut AgentConfig) {
    config.limits.disk_bytes = 16 << 20;
    config.limits.disk_check = Duration::from_millis(50);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_writes_too_much_is_stopped_and_told_so() {
    let instance = Instance::with(small).await;
    for (id, script, said) in [
        ("bytes", "dd if=/dev/zero of=/tmp/big bs=1M count=40; sleep 600", "MiB of 16"),
        // Nothing of this is in any directory.
        ("unnamed", "exec 3> /tmp/gone; rm /tmp/gone; dd if=/dev/zero bs=1M count=40 >&3; sleep 600", "MiB of 16"),
        ("files", "cd /tmp; n=0; while [ $n -lt 1100 ]; do : > f$n; n=$((n+1)); done; sleep 600", "files of 1024"),
        ("depth", "cd /tmp; n=0; while [ $n -lt 300 ]; do mkdir d; cd -P d; n=$((n+1)); done; sleep 600", "nested deeper than 256"),
    ] {
        let info = instance.agent.start(instance.logging(id, script)).await.unwrap();
        let ended = instance.reach(id, exited).await;
        let log = instance.log(id);
        assert!(matches!(ended.state, ContainerState::Exited(status) if status.code == 137), "{ended:?} {log}");
        assert!(log.contains("heroku[web.1]: Error R18 (Disk quota exceeded)") && log.contains(said), "{id}: {log}");
        instance.agent.remove(&info.id).await.unwrap();
        assert!(!instance.config.container_data_dir(id).exists(), "{id} left its disk behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_below_runs_on_is_warned_once_and_shared_memory_is_no_disk() {
    let instance = Instance::with(small).await;
    let script = "dd if=/dev/zero of=/tmp/much bs=1M count=15; echo written; read word < /dev/null; sleep 600";
    let mut spec = instance.logging("calm", script);
    spec.limits.memory_bytes = 128 << 20;
    instance.agent.start(spec).await.unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !instance.log("calm").contains("heroku[web.1]: Disk is 9") {
        assert!(std::time::Instant::now() < until, "no warning: {}", instance.log("calm"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = instance.agent.stats().await.unwrap()[0].memory_bytes;
    // tmpfs: 64 MiB at most, and they are memory.
    let (said, code) = exec(&instance, "calm", &["dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=40"]).await;
    assert_eq!(code, 0, "{said}");
    let after = instance.agent.stats().await.unwrap()[0].memory_bytes;
    assert!(after >= before + (30 << 20), "{before} to {after}");
    let (said, code) = exec(&instance, "calm", &["dd", "if=/dev/zero", "of=/dev/shm/y", "bs=1M", "count=40"]).await;
    assert!(code != 0 && said.contains("No space left"), "{said}");
    let log = instance.log("calm");
    assert!(log.matches("Disk is").count() == 1 && !log.contains("R18"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_attached_is_told_too_and_a_new_agent_goes_on_watching() {
    let mut instance = Instance::with(small).await;
    let mut spec = instance.spec("run-1", &["sh", "-c", "read word; dd if=/dev/zero of=/tmp/big bs=1M count=40; sleep 600"]);
    spec.stdio = Stdio::Pipes;
    let info = instance.agent.start(spec).await.unwrap();
    instance.halt();
    instance.boot().await;
    instance.reach("run-1", |state| *state == ContainerState::Ready).await;
    let mut attached = instance.agent.attach(&info.id).await.unwrap();
    attached.input.write(b"go\n").await.unwrap();
    let (said, code) = drain(attached).await;
    assert!(code == 137 && said.contains(" !     Error R18 (Disk quota exceeded)"), "{code} {said}");
}
