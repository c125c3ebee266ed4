//! Resident memory: idle processes, and what each dyno adds.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use landfall_tests::{App, Instance, eventually};

use crate::table::Table;

/// One number of `/proc/<pid>/smaps_rollup`, in KiB.
fn kib(pid: i32, fields: &[&str]) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let one = |field: &&str| {
        text.lines()
            .find(|line| line.starts_with(*field))
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    Ok(fields.iter().map(one).sum())
}

pub(crate) fn idle(instance: &Instance, when: &str, table: &mut Table) -> Result<()> {
    let mut total = 0;
    let mut parts = Vec::new();
    for role in ["server", "agent", "router"] {
        let pid = instance.pid(role)?;
        let resident = kib(pid, &["Pss:"])?;
        total += resident;
        parts.push(format!("{role} {:.1}", resident as f64 / 1024.0));
    }
    table.row(
        format!("idle memory (proportional), {when}, MB"),
        format!("{:.1} ({})", total as f64 / 1024.0, parts.join(", ")),
        "aim ≤ 40",
    );
    Ok(())
}

fn shims(instance: &Instance) -> Result<Vec<i32>> {
    let mine = instance.run_dir().to_string_lossy().into_owned();
    let mut pids = Vec::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        if command.contains("landfall-shim") && command.contains(&mine) {
            pids.extend(process.file_name().to_string_lossy().parse::<i32>());
        }
    }
    Ok(pids)
}

pub(crate) fn by_dyno(instance: &Instance, table: &mut Table) -> Result<()> {
    let app = App::create(instance, "crowd")?;
    app.write("Procfile", "worker: sleep 10000\nclock: sleep 10000\n")?.write("requirements.txt", "")?;
    app.push()?;
    let wanted = 200;
    let started = Instant::now();
    app.landfall(&["ps:scale", "worker=100", "clock=100"]).ok()?;
    eventually(Duration::from_mins(5), || {
        let dynos = app.json(&["ps", "--json"])?;
        let up = dynos.as_array().into_iter().flatten().filter(|dyno| dyno["state"] == "up").count();
        if up == wanted { Ok(()) } else { bail!("{up} are up") }
    })?;
    table.row("200 dynos from nothing to up", format!("{:.1} s", started.elapsed().as_secs_f32()), "");
    let shims = shims(instance)?;
    let private: Vec<u64> = shims.iter().filter_map(|pid| kib(*pid, &["Private_Clean:", "Private_Dirty:"]).ok()).collect();
    let mean = private.iter().sum::<u64>().checked_div(private.len() as u64).context("no shims")?;
    table.row("memory the platform adds per dyno (shim, private), KB", mean.to_string(), "aim ≤ 1024");
    idle(instance, "200 dynos running", table)
}
