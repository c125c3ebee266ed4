//! `kill -9` at every named place of a deploy (ADR 16): each process, before and after each step. What the client is told, what a user does
//! then, and that everything comes true again.

pub(crate) mod containers;
mod deeds;
pub(crate) mod state;
pub(crate) mod visitors;

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::postgres::Postgres;
use landfall_tests::{App, Instance, Options, eventually};

use deeds::{Apps, Deed};
use state::settled;
use visitors::Visitors;

/// A place where a process dies: at its `pass`th passing, while `deed` is done.
#[derive(Clone, Copy, Debug)]
struct Row {
    point: &'static str,
    pass: u32,
    deed: Deed,
}

const fn row(point: &'static str, pass: u32, deed: Deed) -> Row {
    Row { point, pass, deed }
}

/// In a push the first container is the build's and the second the dyno's, or the release phase's; the first change of the records is the
/// build, the second the release, the third the end of its phase. Routes change twice: the new dyno comes, the old one goes.
const SERVER: &[Row] = &[
    row("hook.connected", 1, Deed::Push),
    row("server.push.received", 1, Deed::Push),
    row("server.change.before-commit", 1, Deed::Push),
    row("server.change.committed", 1, Deed::Push),
    row("server.build.created", 1, Deed::Push),
    row("server.build.checked-out", 1, Deed::Push),
    row("server.build.running", 1, Deed::Push),
    row("server.build.ended", 1, Deed::Push),
    row("server.image.committed", 1, Deed::Push),
    row("server.build.discarded", 1, Deed::Push),
    row("server.change.before-commit", 2, Deed::Push),
    row("server.change.committed", 2, Deed::Push),
    row("server.release.recorded", 1, Deed::Push),
    row("server.build.cache-kept", 1, Deed::Push),
    row("server.start.before", 1, Deed::Push),
    row("server.start.done", 1, Deed::Push),
    row("server.report.before", 1, Deed::Push),
    row("server.report.written", 1, Deed::Push),
    row("server.routes.before", 1, Deed::Push),
    row("server.routes.acknowledged", 1, Deed::Push),
    row("server.release.live", 1, Deed::Push),
    row("server.routes.before", 2, Deed::Push),
    row("server.routes.acknowledged", 2, Deed::Push),
    row("server.drain.before", 1, Deed::Push),
    row("server.drain.done", 1, Deed::Push),
    row("server.stop.before", 1, Deed::Push),
    row("server.stop.done", 1, Deed::Push),
    row("server.remove.before", 1, Deed::Push),
    row("server.remove.done", 1, Deed::Push),
    row("server.push.decided", 1, Deed::Push),
    row("server.push.told", 1, Deed::Push),
    row("hook.verdict-received", 1, Deed::Push),
    row("server.release-phase.before", 1, Deed::Phase),
    row("server.release-phase.started", 1, Deed::Phase),
    row("server.release-phase.ended", 1, Deed::Phase),
    row("server.change.before-commit", 3, Deed::Phase),
    row("server.change.committed", 3, Deed::Phase),
    row("server.release-phase.recorded", 1, Deed::Phase),
    row("server.health.before", 1, Deed::Phase),
    row("server.health.done", 1, Deed::Phase),
    row("server.change.before-commit", 1, Deed::Config),
    row("server.change.committed", 1, Deed::Config),
    row("server.change.committed", 1, Deed::Scale),
    row("server.start.done", 1, Deed::Scale),
    row("server.change.before-commit", 1, Deed::Rollback),
    row("server.change.committed", 1, Deed::Rollback),
    row("server.unroute.before", 1, Deed::Destroy),
    row("server.unroute.acknowledged", 1, Deed::Destroy),
    row("server.purge.before", 1, Deed::Destroy),
    row("server.purge.files-gone", 1, Deed::Destroy),
    row("server.purge.done", 1, Deed::Destroy),
    row("server.first-deploy.before", 1, Deed::First),
    row("server.first-deploy.recorded", 1, Deed::First),
    row("server.postdeploy.started", 1, Deed::First),
    row("server.postdeploy.ended", 1, Deed::First),
    row("server.postdeploy.recorded", 1, Deed::First),
    row("server.table.before", 1, Deed::Boot("server")),
    row("server.table.acknowledged", 1, Deed::Boot("server")),
];

const AGENT: &[Row] = &[
    row("agent.start.reserved", 1, Deed::Push),
    row("agent.start.reserved", 2, Deed::Push),
    row("agent.start.half-described", 1, Deed::Push),
    row("agent.start.half-described", 2, Deed::Push),
    row("agent.start.described", 2, Deed::Push),
    row("agent.start.created", 1, Deed::Push),
    row("agent.start.created", 2, Deed::Push),
    row("agent.start.joined", 1, Deed::Push),
    row("agent.start.joined", 2, Deed::Push),
    row("agent.start.running", 1, Deed::Push),
    row("agent.start.running", 2, Deed::Push),
    row("agent.build.prepared", 1, Deed::Push),
    row("agent.build.running", 1, Deed::Push),
    row("agent.build.ended", 1, Deed::Push),
    row("agent.commit.before", 1, Deed::Push),
    row("agent.layer.staged", 1, Deed::Push),
    row("agent.commit.layers-kept", 1, Deed::Push),
    row("agent.commit.image-named", 1, Deed::Push),
    row("agent.build.before-discard", 1, Deed::Push),
    row("agent.remove.ended", 1, Deed::Push),
    row("agent.stop.before", 1, Deed::Push),
    row("agent.stop.done", 1, Deed::Push),
    row("agent.remove.ended", 2, Deed::Push),
    row("agent.remove.link-gone", 2, Deed::Push),
    row("agent.remove.root-gone", 2, Deed::Push),
    row("agent.remove.done", 2, Deed::Push),
    row("agent.start.created", 2, Deed::Phase),
    row("agent.start.running", 2, Deed::Phase),
    row("agent.start.running", 1, Deed::Config),
    row("agent.stop.before", 1, Deed::Destroy),
    row("agent.remove.link-gone", 1, Deed::Destroy),
    row("agent.gc.before", 1, Deed::Sweep),
    row("agent.gc.blob-gone", 1, Deed::Sweep),
    row("agent.gc.layer-taken", 1, Deed::Sweep),
];

const ROUTER: &[Row] = &[
    row("router.change.received", 1, Deed::Push),
    row("router.change.applied", 1, Deed::Push),
    row("router.journal.before", 1, Deed::Push),
    row("router.change.persisted", 1, Deed::Push),
    row("router.change.applied", 2, Deed::Push),
    row("router.drain.asked", 1, Deed::Push),
    row("router.change.persisted", 1, Deed::Destroy),
    row("router.table.written", 1, Deed::Boot("router")),
];

const SHIM: &[Row] = &[
    row("shim.created", 1, Deed::Push),
    row("shim.created", 2, Deed::Push),
    row("shim.started", 1, Deed::Push),
    row("shim.started", 2, Deed::Push),
    row("shim.ready", 1, Deed::Push),
    row("shim.stop.asked", 1, Deed::Push),
    row("shim.ended", 1, Deed::Push),
    row("shim.ended", 2, Deed::Push),
    row("shim.recorded", 1, Deed::Push),
    row("shim.recorded", 2, Deed::Push),
    row("shim.started", 2, Deed::Phase),
    row("shim.ended", 2, Deed::Phase),
    row("shim.recorded", 2, Deed::Phase),
];

/// A shorter selection, for the other database: around each commit.
const RECORDS: &[Row] = &[
    row("server.change.before-commit", 1, Deed::Push),
    row("server.change.committed", 1, Deed::Push),
    row("server.change.before-commit", 2, Deed::Push),
    row("server.change.committed", 2, Deed::Push),
    row("server.change.before-commit", 3, Deed::Phase),
    row("server.change.committed", 3, Deed::Phase),
    row("server.change.before-commit", 1, Deed::Config),
    row("server.change.committed", 1, Deed::Config),
    row("server.change.before-commit", 1, Deed::Rollback),
    row("server.change.committed", 1, Deed::Rollback),
    row("server.purge.files-gone", 1, Deed::Destroy),
];

/// All rows once, so mixed that no process dies twice in a row if that can be had: one that dies at once after its start is started again later.
fn mixed() -> Vec<Row> {
    let mut all: Vec<(usize, Row)> = Vec::new();
    for group in [SERVER, AGENT, ROUTER, SHIM] {
        all.extend(group.iter().enumerate().map(|(at, row)| ((2 * at + 1) * 1000 / (2 * group.len()), *row)));
    }
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, row)| row).collect()
}

pub(crate) fn at_each_step() -> Result<()> {
    run(&Options { set: vec![("keep.images".into(), "1".into())], ..Options::default() }, &mixed())
}

pub(crate) fn at_each_commit_on_postgres() -> Result<()> {
    let database = Postgres::start()?;
    run(&Options { set: vec![("store.url".into(), database.url())], ..Options::default() }, RECORDS)
}

/// Every failpoint of the code is in the matrix, and the matrix names no other.
pub(crate) fn no_step_is_left_out() -> Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let mut named = BTreeSet::new();
    for room in ["builder", "cli", "controller", "deploy", "router", "runtime", "store"] {
        points(&root.join(room), &mut named)?;
    }
    let killed: BTreeSet<String> = mixed().iter().map(|row| row.point.to_owned()).collect();
    ensure!(named == killed, "only in the code: {:?}; only in the matrix: {:?}", named.difference(&killed), killed.difference(&named));
    Ok(())
}

fn points(dir: &std::path::Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            points(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            found.extend(text.split("failpoint(\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    Ok(())
}

fn run(options: &Options, rows: &[Row]) -> Result<()> {
    let begun = Instant::now();
    let instance = Instance::start(options)?;
    let witness = App::create(&instance, "witness")?;
    witness.write("index.html", "always")?.push()?;
    let apps = Apps::deploy(&instance, &witness)?;
    witness.answers(200)?;
    let everybody = [&witness, &apps.plain, &apps.phased];
    settled(&instance, &everybody)?;
    let same_dyno = || -> Result<String> { Ok(witness.json(&["ps", "--json"])?[0]["id"].to_string()) };
    let dyno = same_dyno()?;
    let visitors = Visitors::of(instance.router, &everybody.map(App::host));
    let mut table = Vec::new();
    // For a look at one of them: LANDFALL_TEST_POINT=agent.start
    let only = std::env::var("LANDFALL_TEST_POINT").unwrap_or_default();
    for row in rows.iter().filter(|row| row.point.starts_with(&only)) {
        let started = Instant::now();
        let told = die(&instance, &apps, &visitors, *row)
            .and_then(|told| {
                settled(&instance, &everybody)?;
                visitors.saw_nothing()?;
                apps.note()?;
                Ok(told)
            })
            .with_context(|| format!("{row:?}"))?;
        table.push(format!("| `{}` | {} | {} | {told} |", row.point, row.pass, row.deed.name()));
        if std::env::var_os("LANDFALL_TEST_TIMES").is_some() {
            eprintln!("{} {} ms", table[table.len() - 1], started.elapsed().as_millis());
        }
    }
    // LANDFALL_KILL_MATRIX=docs/kill-matrix.md keeps what was seen.
    if let Some(file) = std::env::var_os("LANDFALL_KILL_MATRIX") {
        table.sort();
        let text = format!("{}{}\n", include_str!("kill/matrix.md"), table.join("\n"));
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    ensure!(same_dyno()? == dyno, "an app that nothing was done to got another dyno");
    eprintln!("killed {} times in {} s; {} requests were answered", table.len(), begun.elapsed().as_secs(), visitors.asked());
    Ok(())
}

/// One death. What the client was told, and what doing it again came to.
fn die(instance: &Instance, apps: &Apps<'_>, visitors: &Visitors, row: Row) -> Result<String> {
    apps.prepare(row.deed)?;
    let before = apps.plain.newest_release()?.0;
    let router = row.point.starts_with("router") || row.deed == Deed::Boot("router");
    visitors.router_dies(router);
    instance.arm(row.point, row.pass, &[])?;
    let done = apps.attempt(row.deed)?;
    eventually(Duration::from_secs(20), || {
        ensure!(instance.died_at(row.point), "nobody passed; the client saw {done:?}\n{}", instance.process_log("server"));
        Ok(())
    })?;
    everything_is_back(instance)?;
    visitors.router_dies(false);
    let seen = Apps::seen(&done);
    let then = apps.finish(row.deed, seen, before).with_context(|| format!("the client saw {done:?}"))?;
    Ok(format!("{} | {then}", seen.name()))
}

fn everything_is_back(instance: &Instance) -> Result<()> {
    instance.api_answers()?;
    eventually(Duration::from_secs(20), || {
        UnixStream::connect(instance.run_dir().join("agent.sock")).context("the agent")?;
        UnixStream::connect(instance.run_dir().join("router.sock")).context("the router's control socket")?;
        TcpStream::connect(instance.router).context("the router")?;
        let answer = instance.api_request("GET", "/apps", "")?;
        if answer.status == 200 { Ok(()) } else { bail!("{answer:?}") }
    })
}
