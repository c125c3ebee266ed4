//! Log lines on their whole way: written by a dyno, stored, and read by `landfall logs --tail`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use landfall_tests::{App, Instance};

use crate::table::Table;

const LINES: usize = 1_000_000;
/// Lines a second: more than is aimed at, less than is dropped as a flood (`dyno.log_mib_per_second`).
const PACE: usize = 130_000;
/// Seconds the whole may take.
const LIMIT: &str = "60";

/// Writes a hundredth of a second's lines at once, so that it keeps its pace on a busy machine, too.
const WRITER: &str = "
import os, time
begun, at = time.monotonic(), 0
while at < LINES:
    due = min(LINES, int((time.monotonic() - begun) * PACE))
    os.write(1, b''.join(b'line %d of the usual length for an app, more or less\\n' % n for n in range(at + 1, due + 1)))
    at = max(at, due)
    time.sleep(0.01)
time.sleep(10000)
";

pub(crate) fn throughput(instance: &Instance, table: &mut Table) -> Result<()> {
    let app = App::create(instance, "chatty")?;
    let writer = WRITER.replace("LINES", &LINES.to_string()).replace("PACE", &PACE.to_string());
    app.write("Procfile", "worker: python work.py\n")?.write("work.py", writer)?.write("requirements.txt", "")?;
    // The reader is there first.
    app.push()?;
    // A line that is lost would be waited for for ever.
    let mut tail = Command::new("timeout");
    tail.arg(LIMIT).arg(instance.program()).args(["logs", "--tail", "--source", "app", "--dyno", "worker.1", "-n", "1"]);
    instance.environment(&mut tail);
    let mut tail = tail.current_dir(app.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(tail.stdout.take().context("its output")?).lines();
    app.landfall(&["ps:scale", "worker=1"]).ok()?;
    let (mut seen, mut started) = (0, Instant::now());
    let mut last = String::new();
    for line in lines {
        let line = line?;
        if seen == 0 {
            started = Instant::now();
        }
        seen += 1;
        if line.contains(&format!("line {LINES} ")) {
            last = line;
            break;
        }
    }
    let took = started.elapsed();
    if let Some(pid) = i32::try_from(tail.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // timeout hands it on.
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    }
    tail.wait()?;
    ensure!(last.contains(&format!("line {LINES} ")), "after {seen} lines: {last}");
    ensure!(seen == LINES, "{seen} of {LINES} lines came");
    table.row(
        "log lines written by a dyno, stored and tailed, none lost",
        format!("{:.0} lines/s", LINES as f64 / took.as_secs_f64()),
        "aim ≥ 100,000 lines/s",
    );
    Ok(())
}
