//! Log lines on their whole way: written by a dyno, stored, and read by `landfall logs --tail`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use landfall_tests::{App, Instance};

use crate::table::Table;

const LINES: usize = 1_000_000;

pub(crate) fn throughput(instance: &Instance, table: &mut Table) -> Result<()> {
    let app = App::create(instance, "chatty")?;
    // The worker writes when it is asked to: the reader is there first.
    let writer =
        format!("worker: seq -f 'line %.0f of the usual length for an app, more or less, as people write them' 1 {LINES}; sleep 10000\n");
    app.write("Procfile", &writer)?.write("requirements.txt", "")?;
    app.push()?;
    let mut tail = Command::new(instance.program());
    tail.args(["logs", "--tail", "--source", "app", "--dyno", "worker.1", "-n", "1"]);
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
        if line.contains(&format!("line {LINES} ")) || line.contains("dropped") {
            last = line;
            break;
        }
    }
    let took = started.elapsed();
    tail.kill()?;
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
