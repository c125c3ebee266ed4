//! A log on a disk that hangs: nothing comes back from it, no error either (rule S15).

use std::io::Read as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use landfall_runtime_wire::shim::{ShimEvent, ShimRequest};

use crate::code;
use crate::harness::{Container, SHIM, eventually, runs};
use crate::output::{dropped, ended, heard, lines, logging, made, tell, wait};

/// Lines of 1000 bytes that an app says while the disk hangs.
const SAID: usize = 4000;

/// A file system in a file. Frozen, it lets whoever writes to it wait, where no signal reaches.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let image = disk.0.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        std::fs::create_dir(disk.at()).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F", "--"]).arg(&image).status().unwrap();
        let mounted = Command::new("mount").args(["-o", "loop", "--"]).arg(&image).arg(disk.at()).status().unwrap();
        assert!(made.success() && mounted.success(), "a file system in a file");
        disk
    }

    fn at(&self) -> PathBuf {
        self.0.path().join("at")
    }

    fn logs(&self) -> PathBuf {
        self.at().join("logs")
    }

    fn freeze(&self) {
        assert!(Command::new("fsfreeze").arg("--freeze").arg(self.at()).status().unwrap().success());
    }

    fn thaw(&self) {
        assert!(Command::new("fsfreeze").arg("--unfreeze").arg(self.at()).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // In this order: nobody gets rid of a file system that is frozen. Lazily: what a failed test left keeps nothing else from going.
        let _thawed = Command::new("fsfreeze").arg("--unfreeze").arg(self.at()).output();
        let _gone = Command::new("umount").arg("--lazy").arg(self.at()).output();
    }
}

/// Says a line; then, told to (`b`), more than shim and pipe can hold; then does what the test wants.
fn talkative(disk: &Disk, then: &str) -> Container {
    let script = format!("echo before; touch /tmp/a; {} yes $(printf '%01000d' 7) | head -n {SAID}; touch /tmp/c; {then}", wait("b"));
    let mut c = logging(&script, &disk.logs());
    c.start();
    made(&c, "a");
    heard(&c);
    c
}

/// States of the shim's threads; none once it is gone.
fn threads(c: &Container) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", c.launched.unwrap().shim_pid)).into_iter().flatten().flatten();
    let stat = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    stat.filter_map(|stat| stat.rsplit(") ").next()?.chars().next()).collect()
}

/// The app has said more than fits anywhere, and the disk hangs.
fn choked(c: &Container) {
    tell(c, "b");
    made(c, "c");
    eventually("somebody waits for the disk", || threads(c).contains(&'D'));
}

#[test]
fn while_the_disk_hangs_the_app_runs_on_and_the_shim_answers_and_then_what_was_lost_is_told() {
    let disk = Disk::new();
    let c = talkative(&disk, &format!("{} echo after; {} exit 3", wait("d"), wait("e")));
    disk.freeze();
    choked(&c);
    let begin = Instant::now();
    // It is answered though nobody can write it now.
    assert_eq!(c.answer(&ShimRequest::Note { lines: vec!["State changed".into()] }), ShimEvent::Done);
    assert!(matches!(c.answer(&ShimRequest::Stats), ShimEvent::Stats { .. }));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(lines(&disk.logs()).len(), 1, "the disk does hang");
    let thawed = jiff::Timestamp::now();
    disk.thaw();
    let lost = || dropped(&lines(&disk.logs()), "L12 (Local buffer overflow)") as usize;
    eventually("what was lost is told", || lost() > 0);
    tell(&c, "d");
    eventually("a line", || lines(&disk.logs()).iter().any(|line| line.ends_with("app[web.1]: after")));
    tell(&c, "e");
    eventually("the end", || ended(&c));
    let lines = lines(&disk.logs());
    let app: Vec<&str> = lines.iter().filter_map(|line| line.split_once(" app[web.1]: ")).map(|(_, text)| text).collect();
    assert_eq!((app.first(), app.last()), (Some(&"before"), Some(&"after")));
    assert_eq!(app.len() - 2 + lost(), SAID, "each line is there or counted");
    let stamps = lines.iter().filter(|line| line.contains(" app[web.1]: ")).map(|line| line[..32].parse::<jiff::Timestamp>().unwrap());
    assert_eq!(stamps.filter(|stamp| *stamp > thawed).count(), 1, "a stamp says when a line was read, not when it was written");
    assert!(lost() > SAID / 2, "{} lines found room in one mebibyte", SAID - lost());
    assert!(lines.iter().any(|line| line.ends_with(" heroku[web.1]: State changed")));
    assert_eq!(std::fs::read_to_string(&c.config.exit_file).unwrap(), r#"{"code":3,"oom":false}"#);
}

#[test]
fn an_exit_while_the_disk_hangs_is_reported_and_nothing_is_left_once_the_disk_answers() {
    let disk = Disk::new();
    let c = talkative(&disk, "exec sleep 1000");
    let mut watch = c.ask(&ShimRequest::Watch);
    disk.freeze();
    choked(&c);
    let begin = Instant::now();
    assert_eq!(c.answer(&ShimRequest::Stop { grace_ms: 20_000 }), ShimEvent::Exited { status: code(143) });
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!((std::fs::read_to_string(&c.config.exit_file).unwrap().as_str(), c.cgroups().len()), (r#"{"code":143,"oom":false}"#, 0));
    assert_eq!(c.answer(&ShimRequest::Quit), ShimEvent::Done);
    // Whoever listens is hung up on, though the kernel cannot end the thread that waits.
    watch.0.read_to_end(&mut Vec::new()).unwrap();
    eventually("the shim's end", || !runs(c.launched.unwrap().shim_pid));
    assert!(!c.config.socket.exists() && threads(&c).contains(&'D'), "{:?}", threads(&c));
    disk.thaw();
    eventually("the thread's end", || threads(&c).iter().all(|state| *state == 'Z'));
    assert!(lines(&disk.logs())[0].ends_with("app[web.1]: before"));
    assert!(Command::new("umount").arg(disk.at()).status().unwrap().success(), "somebody still uses the disk");
}

#[test]
fn a_shim_killed_while_the_disk_hangs_takes_its_container_along() {
    let disk = Disk::new();
    let c = talkative(&disk, "exec sleep 1000");
    disk.freeze();
    choked(&c);
    let launched = c.launched.unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(launched.shim_pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the container's end", || !runs(launched.init_pid));
    assert!(threads(&c).contains(&'D'), "its thread still waits: {:?}", threads(&c));
    assert!(Command::new(SHIM).arg("cleanup").arg(c.config_file()).status().unwrap().success());
    assert_eq!(c.cgroups(), Vec::<PathBuf>::new());
}
