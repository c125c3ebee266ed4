//! What stands between apps and the machine, and what is known to be thin (trust rule S16): apps share the kernel with everything else here.

use std::path::Path;
use std::process::Command;

use super::Check;
use crate::config::AgentConfig;

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

/// Runs the sandbox's self-test, as the agent does when it starts.
pub(super) fn sandbox(config: &AgentConfig) -> Check {
    let shim = config.libexec_dir.join("landfall-shim");
    if !nix::unistd::geteuid().is_root() || !shim.is_file() {
        return Check::warn("sandbox", "not tried: that takes root and Landfall's own programs", "Run it with sudo, after: make up");
    }
    match self_test(config, &shim) {
        Ok(said) => Check::ok("sandbox", format!("holds in a throw-away container: {said}")),
        Err(why) => Check::fail(
            "sandbox",
            format!("did not pass its self-test, so no app is started: {why}"),
            "Install programs of one version with: make up",
        ),
    }
}

fn self_test(config: &AgentConfig, shim: &Path) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let exists = |dir: &Path| dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/")).to_path_buf();
    let place = |near: &Path| tempfile::Builder::new().prefix("landfall-doctor-").permissions(passage()).tempdir_in(exists(near));
    let (run, data) = (place(&config.run_dir).map_err(text)?, place(&config.data_dir).map_err(text)?);
    let mut command = Command::new(shim);
    command.arg("selftest").arg(config.libexec_dir.join("landfall-init")).args([run.path(), data.path()]).arg("/");
    command.args(&config.oci_runtime).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let output = command.output().map_err(text)?;
    let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().replace('\n', "; ");
    if output.status.success() { Ok(line(&output.stdout)) } else { Err(line(&output.stderr)) }
}

fn passage() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o711)
}

/// Linux security modules. Containers do without a profile of their own; a module that confines the host's programs confines a break-out, too.
pub(super) fn lsm() -> Check {
    const CONFINING: [&str; 4] = ["apparmor", "selinux", "smack", "tomoyo"];
    let list = read("/sys/kernel/security/lsm").unwrap_or_default();
    let confining: Vec<&str> = list.split(',').filter(|name| CONFINING.contains(name)).collect();
    let base = "apps are kept in by namespaces, a user namespace each, seccomp and no capabilities";
    if confining.is_empty() {
        let shown = if list.is_empty() { "none".to_owned() } else { list };
        let said = format!("no module that confines programs (active: {shown}): {base}, and by nothing else");
        return Check::warn(
            "lsm",
            said,
            "Boot with AppArmor: apt-get install apparmor, and apparmor=1 security=apparmor on the kernel's command line",
        );
    }
    Check::ok("lsm", format!("{} is active; {base}", confining.join(" and ")))
}

/// Side channels the processor has and the kernel does not close: one app may read another's memory through them.
pub(super) fn processor() -> Check {
    let mut open: Vec<String> = Vec::new();
    for file in std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten() {
        let state = std::fs::read_to_string(file.path()).unwrap_or_default();
        if state.starts_with("Vulnerable") {
            open.push(file.file_name().to_string_lossy().into_owned());
        }
    }
    open.sort();
    if open.is_empty() {
        return Check::ok("processor", "no side channel is known to be open");
    }
    let said = format!("open side channels: {}; one app may read memory of another through them", open.join(", "));
    Check::warn(
        "processor",
        said,
        "Update microcode and kernel (apt-get install intel-microcode or amd64-microcode), or let only apps share it that trust each other",
    )
}

/// What a program that broke out would find easier than it must be.
pub(super) fn hardening() -> Check {
    let wanted: [(&str, &str, &[&str], &str); 5] = [
        ("kernel.kptr_restrict", "kernel addresses can be read", &["1", "2"], "1"),
        ("kernel.dmesg_restrict", "everybody reads the kernel's log", &["1"], "1"),
        ("kernel.unprivileged_bpf_disabled", "everybody may load BPF programs", &["1", "2"], "1"),
        ("kernel.perf_event_paranoid", "everybody may trace the kernel", &["2", "3", "4"], "2"),
        ("kernel.yama.ptrace_scope", "programs of one user may trace each other", &["1", "2", "3"], "1"),
    ];
    let loose = wanted.iter().filter_map(|(key, meaning, good, better)| {
        let value = read(&format!("/proc/sys/{}", key.replace('.', "/")))?;
        (!good.contains(&value.as_str())).then(|| (format!("{meaning} ({key} = {value})"), format!("{key}={better}")))
    });
    let (meanings, settings): (Vec<String>, Vec<String>) = loose.unzip();
    if meanings.is_empty() {
        return Check::ok("hardening", "the kernel tells strangers little");
    }
    Check::warn("hardening", meanings.join("; "), format!("Set it with: sysctl -w {}", settings.join(" ")))
}

/// A memory limit counts what is swapped out only where the kernel keeps that account.
pub(super) fn swap() -> Check {
    let on = std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    let counted = [
        "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes",
        "/sys/fs/cgroup/init.scope/memory.swap.max",
        "/sys/fs/cgroup/system.slice/memory.swap.max",
    ];
    if !on {
        return Check::ok("swap", "there is none: a dyno's memory limit is what it says");
    }
    if counted.iter().any(|file| Path::new(file).exists()) {
        return Check::ok("swap", "counts as memory of the dyno that uses it");
    }
    Check::warn(
        "swap",
        "is not counted: a dyno may use all of it beside its memory",
        "Boot with swapaccount=1 on the kernel's command line, or switch it off: swapoff -a",
    )
}
