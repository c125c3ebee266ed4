//! `landfall run` and `ps:exec`: on a terminal, in a pipe, and when somebody leaves.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use landfall_tests::{App, Instance, Pty, Run, eventually};

/// Tells of its window and of Ctrl-C; ends with 5 when told to.
const PROGRAM: &str = r#"
import os, signal, sys
def size(*_): print("size is %dx%d" % os.get_terminal_size(), flush=True)
signal.signal(signal.SIGWINCH, size)
signal.signal(signal.SIGINT, lambda *_: print("caught Ctrl-C", flush=True))
print("on a terminal:", all(os.isatty(fd) for fd in (0, 1, 2)), os.environ.get("TERM"), flush=True)
size()
for line in sys.stdin:
    print("read", line.strip().upper(), flush=True)
    if line.startswith("end"): sys.exit(5)
"#;

fn app<'a>(instance: &'a Instance, name: &str) -> Result<App<'a>> {
    let app = App::create(instance, name)?;
    app.write("terminal.py", PROGRAM)?
        .write("app.py", landfall_tests::app::HELLO)?
        .write("Procfile", "web: python app.py\n")?
        .write("requirements.txt", "")?
        .push()?;
    app.answers(200)?;
    Ok(app)
}

/// `landfall …` on a terminal.
fn terminal(app: &App<'_>, instance: &Instance, args: &[&str]) -> Result<Pty> {
    Pty::start(instance.program(), args, |command| {
        command.current_dir(app.dir()).env("TERM", "xterm-256color");
        instance.environment(command);
    })
}

/// `landfall …` with files as standard streams.
fn piped(app: &App<'_>, instance: &Instance, args: &[&str], input: Stdio, output: Stdio) -> Result<std::process::Child> {
    let mut command = Command::new(instance.program());
    command.args(args).current_dir(app.dir()).stdin(input).stdout(output).stderr(Stdio::null());
    instance.environment(&mut command);
    Ok(command.spawn()?)
}

/// Names of dynos whose name starts like this.
fn dynos(app: &App<'_>, prefix: &str) -> Result<Vec<String>> {
    let list = app.json(&["ps", "--json"])?;
    let names = list.as_array().into_iter().flatten().filter_map(|dyno| dyno["name"].as_str());
    Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
}

fn no_one_off_is_left(app: &App<'_>, within: Duration) -> Result<()> {
    eventually(within, || match dynos(app, "run.")?.as_slice() {
        [] => Ok(()),
        left => bail!("{left:?} still there\n{}", app.log()),
    })
}

/// The same for a one-off dyno and for a process in a running one.
fn speaks_terminal(mut pty: Pty) -> Result<()> {
    pty.shows("on a terminal: True xterm-256color")?;
    pty.shows("size is 80x24")?;
    pty.resize(132, 43)?;
    pty.shows("size is 132x43")?;
    // Two in a row: the last one counts.
    pty.resize(60, 20)?;
    pty.resize(61, 21)?;
    pty.shows("size is 61x21")?;
    pty.types("\x03")?;
    pty.shows("caught Ctrl-C")?;
    pty.types("hello\r")?;
    pty.shows("read HELLO")?;
    pty.types("end\r")?;
    ensure!(pty.ends()? == 5, "{}", pty.screen());
    Ok(())
}

pub(crate) fn run_on_a_terminal(instance: &Instance) -> Result<()> {
    let app = app(instance, "screen")?;
    let pty = terminal(&app, instance, &["run", "python terminal.py"])?;
    pty.shows("Running python terminal.py on screen... up, run.")?;
    speaks_terminal(pty)?;

    // A shell, as people use it; its end is Ctrl-D.
    let mut shell = terminal(&app, instance, &["run", "bash"])?;
    shell.shows("$ ")?;
    shell.types("stty size; echo code is $((40 + 2))\r")?;
    shell.shows("24 80")?;
    shell.shows("code is 42")?;
    shell.resize(100, 30)?;
    shell.types("stty size\r")?;
    shell.shows("30 100")?;
    shell.types("echo asleep in $((6 * 7)); sleep 1000\r")?;
    shell.shows("asleep in 42")?;
    shell.clear();
    shell.types("\x03")?;
    shell.shows("$ ")?;
    shell.types("(exit 9)\r\x04")?;
    ensure!(shell.ends()? == 9, "{}", shell.screen());
    no_one_off_is_left(&app, Duration::from_secs(20))
}

pub(crate) fn exec_on_a_terminal(instance: &Instance) -> Result<()> {
    let app = app(instance, "inside-screen")?;
    speaks_terminal(terminal(&app, instance, &["ps:exec", "web.1", "python", "terminal.py"])?)?;
    // A client that is killed takes its process along, and nothing else.
    let mut shell = terminal(&app, instance, &["ps:exec"])?;
    shell.shows("$ ")?;
    shell.types("exec sleep 4711\r")?;
    let sleeps = || -> Result<bool> {
        let found = app.landfall(&["ps:exec", "web.1", "--", "sh", "-c", "grep -l 471[1] /proc/[0-9]*/cmdline || true"]).ok()?;
        Ok(!found.stdout.is_empty())
    };
    eventually(Duration::from_secs(20), || if sleeps()? { Ok(()) } else { bail!("no sleep runs: {}", shell.screen()) })?;
    shell.kill()?;
    eventually(Duration::from_secs(20), || if sleeps()? { bail!("it still runs") } else { Ok(()) })?;
    ensure!(app.get("/")?.status == 200 && dynos(&app, "web.")? == ["web.1"]);
    Ok(())
}

pub(crate) fn exit_codes_and_signals(instance: &Instance) -> Result<()> {
    let app = app(instance, "codes")?;
    let ends = |args: &[&str]| Ok::<_, anyhow::Error>(app.landfall(args).done()?.code);
    for (command, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("kill -SEGV $$", 139)]
    {
        ensure!(ends(&["run", command])? == code, "run {command} should end with {code}");
        ensure!(ends(&["ps:exec", "web.1", "--", "bash", "-c", command])? == code, "ps:exec {command} should end with {code}");
    }
    let done = app.landfall(&["run", "no-such-program"]).done()?;
    ensure!(done.code == 127 && done.stderr.contains("no-such-program"), "{done:?}");
    let done = app.landfall(&["ps:exec", "web.1", "no-such-program"]).done()?;
    // No shell in between: the launcher's own code (CNB platform specification).
    ensure!(done.code == 82 && done.stderr.contains("cannot start no-such-program"), "{done:?}");
    // Ctrl-C without a terminal in between: the process hears of it, and the client waits for its end.
    let mut client =
        piped(&app, instance, &["run", "trap 'exit 33' INT; echo ready; while :; do sleep 0.1; done"], Stdio::piped(), Stdio::piped())?;
    let mut ready = [0; 6];
    std::io::Read::read_exact(client.stdout.as_mut().context("its output")?, &mut ready)?;
    ensure!(&ready == b"ready\n");
    let pid = rustix::process::Pid::from_child(&client);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    ensure!(client.wait()?.code() == Some(33));
    no_one_off_is_left(&app, Duration::from_secs(20))
}

pub(crate) fn pipes_carry_every_byte(instance: &Instance) -> Result<()> {
    let app = app(instance, "binary")?;
    let dir = tempfile::TempDir::new()?;
    let (sent, got) = (dir.path().join("sent"), dir.path().join("got"));
    // Every byte there is, line ends and NULs included, and more of them than all buffers on the way hold.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(3 << 20)
    .flatten()
    .collect();
    std::fs::write(&sent, &bytes)?;
    for args in [&["run", "cat"][..], &["ps:exec", "web.1", "cat"]] {
        let mut client = piped(&app, instance, args, File::open(&sent)?.into(), File::create(&got)?.into())?;
        let code = eventually(Duration::from_mins(2), || client.try_wait()?.context("it hangs"));
        let _ = client.kill();
        ensure!(code?.success(), "{args:?}");
        ensure!(
            std::fs::read(&got)? == bytes,
            "{args:?}: {} of {} bytes came back, or others",
            std::fs::metadata(&got)?.len(),
            bytes.len()
        );
    }
    // Output that comes before anybody is there to read it, and input that nobody ever reads.
    let early = app.landfall(&["run", "head -c 3000000 /dev/zero | tr '\\0' x"]).ok()?.stdout;
    ensure!(early.len() == 3_000_000, "{} bytes", early.len());
    let unread = app.landfall(&["run", "echo enough; exit 3"]).input(vec![b'x'; 2 << 20]).done()?;
    ensure!((unread.code, unread.stdout.as_str()) == (3, "enough\n"), "{:?}", (unread.code, unread.stdout.len(), unread.stderr));
    // A reader that has enough.
    let shell = format!("'{}' run yes | head -n 1", instance.program().display());
    let done = Run::new("bash", &["-c", &shell]).with(|command| {
        command.current_dir(app.dir());
        instance.environment(command);
    });
    let done = done.within(Duration::from_mins(1)).done()?;
    ensure!(done.stdout == "y\n" && done.stderr.is_empty(), "{done:?}");
    no_one_off_is_left(&app, Duration::from_secs(40))
}

pub(crate) fn a_killed_client_ends_its_dyno(instance: &Instance) -> Result<()> {
    let app = app(instance, "abandoned")?;
    // An interactive shell ignores SIGTERM; its terminal is hung up.
    let mut shell = terminal(&app, instance, &["run", "bash"])?;
    shell.shows("$ ")?;
    shell.types("trap 'echo asked to stop' TERM; echo trap is set\r")?;
    shell.shows("trap is set")?;
    shell.kill()?;
    no_one_off_is_left(&app, Duration::from_secs(20))?;
    // In a pipe it is told to stop.
    let mut client = piped(&app, instance, &["run", "echo ready; exec sleep 1000"], Stdio::piped(), Stdio::piped())?;
    std::io::Read::read_exact(client.stdout.as_mut().context("its output")?, &mut [0; 6])?;
    ensure!(dynos(&app, "run.")?.len() == 1);
    client.kill()?;
    client.wait()?;
    no_one_off_is_left(&app, Duration::from_secs(20))?;
    ensure!(app.log().contains("Stopping all processes with SIGTERM"), "{}", app.log());
    Ok(())
}
