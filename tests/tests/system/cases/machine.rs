//! A machine that cannot run Landfall is told so, plainly and before anything is started.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use landfall_tests::{Instance, Options, Run};

/// Runs a program without privileges, as an ordinary user of the machine would.
fn as_nobody(program: &Path, args: &[&str]) -> Run {
    let program = program.to_string_lossy().into_owned();
    let mut all = vec!["--reuid=65534", "--regid=65534", "--clear-groups", program.as_str()];
    all.extend(args);
    Run::new("setpriv", &all)
}

/// A folder that holds nothing but links to the named programs: a PATH on which everything else is missing.
fn only(programs: &[&str]) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    for program in programs {
        let found = Run::new("which", &[program]).ok()?.stdout;
        std::os::unix::fs::symlink(found.trim(), dir.path().join(program))?;
    }
    Ok(dir)
}

pub(crate) fn up_says_what_the_machine_lacks() -> Result<()> {
    let instance = Instance::start(&Options::default())?;
    instance.landfall(&["down"]).ok()?;
    let told = |run: Run, words: &[&str]| -> Result<()> {
        let stderr = run.fails()?.stderr;
        for word in words.iter().chain(&["Next: "]) {
            ensure!(stderr.contains(word), "{word:?} is not in:\n{stderr}");
        }
        ensure!(instance.traces()?.is_empty(), "something was started");
        Ok(())
    };
    let prepared = |run: Run| run.with(|command| instance.environment(command));

    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    told(instance.landfall(&["up", "--set", &format!("api.listen={address}")]), &["api.listen", "cannot be used", "ss -ltnp"])?;

    told(prepared(as_nobody(instance.program(), &["up"])), &["needs root", "sudo landfall up"])?;

    let program = instance.program().to_string_lossy().into_owned();
    let covered = "mount -t tmpfs none /sys/fs/cgroup && exec \"$0\" up";
    told(prepared(Run::new("unshare", &["-m", "sh", "-c", covered, &program])), &["cgroup", "without cpu, memory, pids"])?;

    let bare = only(&["git"])?;
    let without_nft = prepared(Run::new(&program, &["up"])).with(|command: &mut Command| {
        command.env("PATH", bare.path());
    });
    told(without_nft, &["nftables is not installed", "apt-get install nftables"])?;

    instance.landfall(&["up"]).ok()?;
    Ok(())
}

/// Whoever logs out takes back the token that was made at the first start; the password is as good.
pub(crate) fn up_logs_root_in_again() -> Result<()> {
    let instance = Instance::start(&Options { without_stack: true, ..Options::default() })?;
    for _ in 0..2 {
        instance.landfall(&["logout"]).ok()?;
        let said = instance.landfall(&["apps"]).fails()?.stderr;
        ensure!(said.contains("not logged in") && said.contains("Next: landfall login"), "{said}");
        instance.landfall(&["up"]).ok()?;
        ensure!(instance.landfall(&["whoami"]).ok()?.stdout == "admin@localhost\n");
    }
    Ok(())
}

pub(crate) fn make_says_what_the_machine_lacks() -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/need.sh").canonicalize()?;
    let script = script.to_string_lossy().into_owned();
    let tools = only(&["bash", "dirname", "id", "df", "tail", "tr", "apt-get", "rm"])?;
    let on = |path: &Path, args: &[&str]| {
        let path = path.to_owned();
        let mut all = vec![script.as_str()];
        all.extend(args);
        Run::new("/bin/bash", &all).with(|command| {
            command.env_clear().env("PATH", path).env("HOME", "/nonexistent");
        })
    };
    let said = on(tools.path(), &["git"]).fails()?.stderr;
    ensure!(said.contains("no Rust toolchain") && said.contains("Next: install rustup"), "{said}");

    let tool = |name: &str, says: &str| -> Result<()> {
        let path = tools.path().join(name);
        let _none = std::fs::remove_file(&path);
        std::fs::write(&path, format!("#!/bin/bash\nprintf '{says}\\n'\n"))?;
        Run::new("chmod", &["0755", &path.to_string_lossy()]).ok()?;
        Ok(())
    };
    // Debian 12's own.
    tool("cargo", "cargo 1.65.0")?;
    let said = on(tools.path(), &["git"]).fails()?.stderr;
    ensure!(said.contains("cargo is too old (cargo 1.65.0)") && said.contains("Next: install rustup"), "{said}");
    tool("cargo", "cargo 1.95.0 (f2d3ce0bd 2026-03-21)")?;
    tool("df", "Avail\\n512M")?;
    let said = on(tools.path(), &["git"]).fails()?.stderr;
    ensure!(said.contains("only 512 MB are free at ") && said.contains("building needs 6000") && said.contains("Next: df -h"), "{said}");

    // Where they can read it: a checkout may lie in root's own folder.
    let checkout = tempfile::tempdir()?;
    for name in ["need.sh", "phases.sh"] {
        std::fs::copy(Path::new(&script).with_file_name(name), checkout.path().join(name))?;
    }
    Run::new("chmod", &["-R", "a+rX", &checkout.path().to_string_lossy()]).ok()?;
    let script = checkout.path().join("need.sh").to_string_lossy().into_owned();
    let said = as_nobody(Path::new("/bin/bash"), &[&script, "git"]).fails()?.stderr;
    ensure!(said.contains("needs root") && said.lines().any(|line| line.ends_with("Next: sudo make up")), "{said}");
    Ok(())
}

/// Trust rule S16: people are told what stands between their apps and the machine.
pub(crate) fn doctor_tells_how_exposed_the_machine_is(instance: &Instance) -> Result<()> {
    let found = instance.landfall(&["doctor", "--json"]).done()?;
    let checks: serde_json::Value = serde_json::from_str(&found.stdout)?;
    let checks = checks.as_array().map(Vec::as_slice).unwrap_or_default();
    let check = |name: &str| checks.iter().find(|check| check["name"] == name);
    for (name, words) in [
        ("kernel", "all apps share it"),
        ("cgroups", "cgroup v"),
        ("lsm", "apps are kept in by namespaces"),
        ("sandbox", " 0 surprises"),
        ("processor", "side channel"),
        ("hardening", "kernel"),
        ("swap", ""),
        ("seccomp", "filters work"),
    ] {
        let said = check(name).and_then(|check| check["meaning"].as_str()).unwrap_or_default();
        ensure!(!said.is_empty() && said.contains(words), "{name}: {words:?} is not in {said:?}\n{}", found.stdout);
    }
    for check in checks {
        ensure!((check["verdict"] == "ok") == (check["advice"] == ""), "{check}");
    }
    let shown = instance.landfall(&["doctor"]).done()?.stdout;
    ensure!(shown.contains("ok      sandbox: holds in a throw-away container"), "{shown}");
    Ok(())
}
