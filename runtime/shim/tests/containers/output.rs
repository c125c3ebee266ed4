//! The log of a container under a flood and on a full disk (rules S14, S15, Q9).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use landfall_runtime_wire::shim::{Phase, ShimEvent, ShimRequest};
use landfall_runtime_wire::{LogTarget, Stdio};

use crate::exec;
use crate::harness::{Container, eventually};

pub(crate) fn logging(script: &str, dir: &Path) -> Container {
    let mut c = Container::new(&["sh", "-c", script]);
    c.config.stdio = Stdio::Log;
    c.config.log = Some(LogTarget { dir: dir.to_owned(), source: "app".into(), name: "web.1".into() });
    c
}

pub(crate) fn lines(dir: &Path) -> Vec<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    // What else is there is not for people.
    files.retain(|file| file.to_string_lossy().contains(".log"));
    // `.log.1` is older than `.log`.
    files.sort_by(|a, b| b.cmp(a));
    let read = |file: &PathBuf| String::from_utf8(std::fs::read(file).unwrap()).unwrap();
    let mut lines: Vec<String> = files.iter().flat_map(|file| read(file).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    // A stamp is as long as any other; lines of one file are in order already.
    lines.sort_by(|a, b| a.split(' ').next().cmp(&b.split(' ').next()));
    lines
}

pub(crate) fn ended(c: &Container) -> bool {
    matches!(c.status().phase, Phase::Exited { .. })
}

/// How many lines the platform says it dropped.
pub(crate) fn dropped(lines: &[String], code: &str) -> u64 {
    let counts = lines.iter().filter_map(|line| {
        let (_, told) = line.split_once(&format!(" heroku[web.1]: Error {code}"))?;
        told.strip_prefix(": ")?.split_once(" messages dropped since ")?.0.parse::<u64>().ok()
    });
    counts.sum()
}

/// Shell words that wait until somebody calls [`tell`].
pub(crate) fn wait(name: &str) -> String {
    format!("until [ -e /tmp/{name} ]; do sleep 0.01; done;")
}

/// Its code says nothing: where the app ends because of it, it may be killed with the app.
pub(crate) fn tell(c: &Container, name: &str) {
    c.ask(&exec(&["touch", &format!("/tmp/{name}")], None)).finish();
}

/// The app has touched a file.
pub(crate) fn made(c: &Container, name: &str) {
    eventually(name, || c.config.root.upper.join("tmp").join(name).exists());
}

/// The shim has read what the app said, and tried to write it: an answer to a note comes after both.
pub(crate) fn heard(c: &Container) {
    let init = c.status().init_pid;
    let main = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap();
    let pipe = std::fs::File::open(format!("/proc/{}/fd/1", main.split(' ').next().unwrap())).unwrap();
    eventually("the app is heard", || rustix::io::ioctl_fionread(&pipe).unwrap() == 0);
    assert_eq!(c.answer(&ShimRequest::Note { lines: vec![] }), ShimEvent::Done);
}

#[test]
fn what_comes_too_fast_is_dropped_counted_and_told_and_the_app_never_waits() {
    let dir = tempfile::tempdir().unwrap();
    // A line is 7 bytes: 3.5 MB in all, at 200 kB a second.
    let mut c = logging("seq 100000 599999; touch /tmp/said; sleep 1000", dir.path());
    c.config.log_bytes_per_second = Some(200_000);
    let begin = Instant::now();
    c.start();
    eventually("the flood's end", || c.config.root.upper.join("tmp/said").exists());
    assert!(begin.elapsed() < Duration::from_secs(10), "the app waited for its log: {:?}", begin.elapsed());
    let count = || {
        let lines = lines(dir.path());
        let written = lines.iter().filter(|line| line.contains(" app[web.1]: ")).count() as u64;
        (written, dropped(&lines, "L12 (Local buffer overflow)"))
    };
    // Told although nothing more is said.
    eventually("every line is accounted for", || {
        let (written, dropped) = count();
        written + dropped >= 500_000
    });
    assert_eq!(count().0 + count().1, 500_000);
    assert!(count().1 > 250_000, "{:?}", count());
    assert_eq!(c.answer(&ShimRequest::Note { lines: vec!["State changed".into()] }), ShimEvent::Done);
    assert!(lines(dir.path()).last().unwrap().ends_with(" heroku[web.1]: State changed"));
}

#[test]
fn a_burst_at_the_end_is_in_the_log_to_its_last_line_before_the_exit_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = logging("yes $(printf '%01000d' 7) | head -n 7000; printf last", dir.path());
    c.config.log_bytes_per_second = Some(16 << 20);
    c.start();
    eventually("the end", || ended(&c));
    let lines = lines(dir.path());
    assert!(lines.last().unwrap().ends_with(" app[web.1]: last"), "{:?}", lines.last());
    assert_eq!(lines.len(), 7001, "all of it fits into the queue");
}

/// A tmpfs of a few pages, unmounted when the test ends.
struct Tiny(tempfile::TempDir);

impl Tiny {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        nix::mount::mount(Some("tiny"), dir.path(), Some("tmpfs"), nix::mount::MsFlags::empty(), Some("size=64k,mode=755")).unwrap();
        Self(dir)
    }

    /// Takes all room there is, or gives it back.
    fn fill(&self, full: bool) {
        let ballast = self.0.path().join("ballast");
        if full {
            let written = std::fs::write(&ballast, vec![0; 128 * 1024]);
            assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        } else {
            std::fs::remove_file(ballast).unwrap();
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _unmounted = nix::mount::umount2(self.0.path(), nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn on_a_full_disk_the_app_runs_on_and_the_log_goes_on_once_there_is_room() {
    let tiny = Tiny::new();
    let logs = tiny.0.path().join("logs");
    // The log cannot even be opened when the container starts.
    std::fs::write(&logs, "in the way").unwrap();
    // Longer than a page, or they would fit into what the log has already.
    let script = format!(
        "echo one; touch /tmp/a; {} printf '%05000d\\n' 2; printf '%05000d\\n' 3; touch /tmp/c; {} echo four; {} echo five",
        wait("b"),
        wait("d"),
        wait("e")
    );
    let mut c = logging(&script, &logs);
    c.start();
    made(&c, "a");
    heard(&c);
    std::fs::remove_file(&logs).unwrap();
    let lost = || dropped(&lines(&logs), "L13 (Local delivery error)");
    eventually("the log is there, and what was lost is told", || lost() == 1);
    tiny.fill(true);
    tell(&c, "b");
    made(&c, "c");
    heard(&c);
    tiny.fill(false);
    // In one notice or two: the second line may have been lost after the first one's notice was due.
    eventually("what was lost is told", || lost() == 3);
    tell(&c, "d");
    eventually("a line", || lines(&logs).iter().any(|line| line.ends_with("app[web.1]: four")));
    tell(&c, "e");
    eventually("the end", || ended(&c));
    let lines = lines(&logs);
    let app: Vec<&str> = lines.iter().filter_map(|line| line.split_once(" app[web.1]: ")).map(|(_, text)| text).collect();
    assert_eq!((app, dropped(&lines, "L13 (Local delivery error)")), (vec!["four", "five"], 3), "{lines:#?}");
}
