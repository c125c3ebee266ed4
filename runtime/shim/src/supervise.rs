//! The life of one container: one thread, one poll, everything an event. What could wait for a disk is elsewhere: [`crate::output`].

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use landfall_failpoint::failpoint;
use landfall_init::channel::Channel;
use landfall_init::{FromInit, MAIN, Run, ToInit};
use landfall_runtime_wire::shim::{Phase, ShimConfig, ShimEvent, ShimStatus};
use landfall_runtime_wire::{ExecSpec, ExitStatus, Stdio};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::behind::{Behind, Then};
use crate::cgroup::Cgroups;
use crate::client::{Client, Role, SLOW};
use crate::error::{Result, call};
use crate::listen;
use crate::output::Output;
use crate::program::{INPUT, Program, Side};
use crate::setup::{Created, tell};
use crate::{exit, sys};

/// The first look at the socket tables after an event; each next one waits twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// The longest wait between looks; after one of these no more follow, where the kernel tells of each `listen(2)`.
const LAST_LOOK: Duration = Duration::from_millis(256);
/// Between looks where it does not.
const TICK: Duration = Duration::from_millis(10);
/// SIGTERM to the shim itself stops the container with this grace.
const OWN_GRACE: Duration = Duration::from_secs(10);

/// Everything of one container.
pub(crate) struct Shim {
    pub(crate) config: ShimConfig,
    pub(crate) status: ShimStatus,
    pub(crate) cgroups: Cgroups,
    pub(crate) programs: BTreeMap<u32, Program>,
    pub(crate) clients: BTreeMap<u64, Client>,
    pub(crate) output: Output,
    pub(crate) quit: bool,
    pub(crate) behind: VecDeque<Behind>,
    channel: Channel,
    channel_open: bool,
    listens: Option<OwnedFd>,
    memory_ended: Option<OwnedFd>,
    out_of_memory: bool,
    listener: UnixListener,
    signals: SignalFd,
    next_client: u64,
    next_program: u32,
    main_code: Option<i32>,
    /// Init was reaped, and its number may be anybody's.
    gone: bool,
    leaving: bool,
    kill_at: Option<Instant>,
    look_at: Option<(Instant, Duration)>,
}

/// What a polled descriptor belongs to.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Init,
    Listens,
    Memory,
    Listener,
    Client(u64),
    Output(u32, Side),
    Input(u32),
}

impl Shim {
    /// Of a created container.
    pub(crate) fn new(config: ShimConfig, created: Created, signals: SignalFd, output: Output) -> Self {
        let terminal = matches!(config.stdio, Stdio::Terminal { .. });
        let cgroups = Cgroups::find(&config.cgroup_parent.join(config.id.as_str()));
        cgroups.no_swap(config.limits.memory_bytes);
        let memory_ended = if config.limits.memory_quota_bytes.is_some() { cgroups.one_for_all() } else { None };
        Self {
            status: ShimStatus { id: config.id.clone(), phase: Phase::Created, init_pid: created.init_pid, listeners: Vec::new() },
            cgroups,
            programs: BTreeMap::from([(MAIN, Program::new(terminal))]),
            clients: BTreeMap::new(),
            output,
            quit: false,
            behind: VecDeque::new(),
            channel: created.channel,
            channel_open: true,
            listens: created.listens,
            memory_ended,
            out_of_memory: false,
            listener: created.listener,
            signals,
            next_client: 0,
            next_program: MAIN + 1,
            main_code: None,
            gone: false,
            leaving: false,
            kill_at: None,
            look_at: None,
            config,
        }
    }

    /// Serves until the agent says quit, or its socket is gone.
    pub(crate) fn run(&mut self) -> Result<()> {
        while !self.quit || self.clients.values().any(|client| client.unsent() > 0) {
            for source in self.wait()? {
                self.handle(source)?;
            }
            self.on_time();
            self.catch_up();
            self.flush_clients();
            if self.exited() && !self.leaving && !self.config.socket.exists() {
                // Nobody finds us any more.
                self.clients.clear();
                self.leave();
            }
        }
        let _ = std::fs::remove_file(&self.config.socket);
        Ok(())
    }

    /// Ends the shim. What the disk had no room for when the app ended is told now, or never.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
        self.output.finish();
        self.after_the_log(Then::Quit);
    }

    fn wait(&self) -> Result<Vec<Source>> {
        let mut sources =
            vec![(Source::Signals, self.signals.as_fd(), PollFlags::POLLIN), (Source::Listener, self.listener.as_fd(), PollFlags::POLLIN)];
        if self.channel_open {
            sources.push((Source::Init, self.channel.fd().as_fd(), PollFlags::POLLIN));
        }
        if let Some(listens) = &self.listens {
            sources.push((Source::Listens, listens.as_fd(), PollFlags::POLLIN));
        }
        if let Some(ended) = &self.memory_ended {
            sources.push((Source::Memory, ended.as_fd(), PollFlags::POLLIN));
        }
        for (id, client) in &self.clients {
            let full = match client.role {
                Role::Attached(program) => self.programs.get(&program).is_some_and(|program| program.waiting_input() > INPUT),
                _ => false,
            };
            let mut flags = if full { PollFlags::empty() } else { PollFlags::POLLIN };
            flags.set(PollFlags::POLLOUT, client.unsent() > 0);
            sources.push((Source::Client(*id), client.stream.as_fd(), flags));
        }
        for (id, program) in &self.programs {
            let slow = program.client.and_then(|client| self.clients.get(&client)).is_some_and(|client| client.unsent() > SLOW);
            let waits = slow || program.waits_for_client();
            for (side, fd) in [(Side::Out, &program.output), (Side::Err, &program.errors)] {
                if let (Some(fd), false) = (fd, waits) {
                    sources.push((Source::Output(*id, side), fd.as_fd(), PollFlags::POLLIN));
                }
            }
            if let (Some(fd), true) = (&program.input, program.waiting_input() > 0) {
                sources.push((Source::Input(*id), fd.as_fd(), PollFlags::POLLOUT));
            }
        }
        let next = [self.kill_at, self.look_at.map(|(at, _)| at), self.behind_until()].into_iter().flatten().min();
        let timeout = match next {
            // Rounded up: poll counts in milliseconds, and waking early would spin.
            Some(at) => {
                PollTimeout::try_from(at.saturating_duration_since(Instant::now()) + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
            }
            // A removed socket file sends no event.
            None if self.exited() => PollTimeout::from(5_000_u16),
            None => PollTimeout::NONE,
        };
        let mut wait: Vec<PollFd<'_>> = sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut wait, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(call("poll")(errno)),
        }
        let ready = |poll: &PollFd<'_>| poll.revents().is_some_and(|events| !events.is_empty());
        Ok(sources.iter().zip(&wait).filter(|(_, poll)| ready(poll)).map(|((source, _, _), _)| *source).collect())
    }

    fn handle(&mut self, source: Source) -> Result<()> {
        match source {
            Source::Signals => self.on_signals(),
            Source::Init => self.on_init()?,
            Source::Listens => self.on_listen(),
            Source::Memory => self.on_memory_ended(),
            Source::Listener => self.on_connect(),
            Source::Client(id) => self.on_client(id),
            Source::Output(id, side) => self.forward(id, side, 1),
            Source::Input(id) => {
                if let Some(program) = self.programs.get_mut(&id) {
                    program.pump();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn exited(&self) -> bool {
        matches!(self.status.phase, Phase::Exited { .. })
    }

    fn on_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if Signal::try_from(info.ssi_signo as i32) == Ok(Signal::SIGTERM) {
                self.stop(OWN_GRACE);
            }
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == self.status.init_pid => self.ended(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == self.status.init_pid => self.ended(128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return,
                _ => {}
            }
        }
    }

    fn on_init(&mut self) -> Result<()> {
        self.channel_open = self.channel.fill().unwrap_or(false);
        loop {
            match self.channel.take_message::<FromInit>() {
                Ok(Some((message, fds))) => self.heard(message, fds)?,
                Ok(None) => return Ok(()),
                Err(_) => {
                    // Only a subverted init talks nonsense.
                    self.channel_open = false;
                    self.kill();
                    return Ok(());
                }
            }
        }
    }

    fn heard(&mut self, message: FromInit, mut fds: Vec<OwnedFd>) -> Result<()> {
        match message {
            FromInit::Hello => {}
            FromInit::Started { id } => {
                if let (Some(program), Some(master)) = (self.programs.get_mut(&id), fds.pop()) {
                    program.terminal_made(master)?;
                }
            }
            FromInit::Failed { id, code, message } => {
                self.put(id, Side::Err, format!("landfall: {message}\n").into_bytes());
                self.program_ended(id, code);
            }
            FromInit::Exited { id, code } => self.program_ended(id, code),
        }
        Ok(())
    }

    fn program_ended(&mut self, id: u32, code: i32) {
        if id == MAIN {
            // Told to everybody when the container is gone.
            self.main_code = Some(code);
            return;
        }
        self.drain(id);
        let Some(program) = self.programs.remove(&id) else { return };
        if let Some(client) = program.client.and_then(|client| self.clients.get_mut(&client)) {
            client.finish(&ShimEvent::Exited { status: ExitStatus { code, oom: false } });
        }
    }

    fn drain(&mut self, id: u32) {
        for side in [Side::Out, Side::Err] {
            // Bounded: a grandchild may go on writing.
            self.forward(id, side, 64);
        }
    }

    fn forward(&mut self, id: u32, side: Side, most: usize) {
        for _ in 0..most {
            let Some(bytes) = self.programs.get_mut(&id).and_then(|program| program.read(side)) else { return };
            self.put(id, side, bytes);
        }
    }

    fn put(&mut self, id: u32, side: Side, bytes: Vec<u8>) {
        if id == MAIN && self.config.stdio == Stdio::Log {
            return self.output.take(bytes);
        }
        let Some(program) = self.programs.get_mut(&id) else { return };
        match program.client.and_then(|client| self.clients.get_mut(&client)) {
            Some(client) => client.bytes(kind(side), &bytes),
            None => program.keep(side, bytes),
        }
    }

    fn on_listen(&mut self) {
        let Some(listens) = &self.listens else { return };
        if !sys::continue_listen(listens) {
            // Nobody behind the filter is left.
            if self.gone {
                self.listens = None;
            }
            return;
        }
        // The call goes on now; the table shows it in a moment.
        self.look_at = Some((Instant::now() + FIRST_LOOK, FIRST_LOOK));
    }

    /// The kernel kills a process of ours for memory: all of the container ends with it.
    fn on_memory_ended(&mut self) {
        self.memory_ended = None;
        if !self.gone {
            self.out_of_memory = true;
            self.kill();
        }
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill();
        }
        let Some((_, delay)) = self.look_at.filter(|(at, _)| *at <= now) else { return };
        self.look();
        let (delay, again) =
            if self.listens.is_some() { (delay * 2, delay < LAST_LOOK) } else { (TICK, self.status.phase == Phase::Running) };
        self.look_at = again.then(|| (Instant::now() + delay, delay));
    }

    fn look(&mut self) {
        let found = listen::listeners(self.status.init_pid);
        let ready = self.status.phase == Phase::Running && self.config.port.is_some_and(|port| listen::reachable(&found, port));
        if ready {
            failpoint("shim.ready");
            self.status.phase = Phase::Ready;
        }
        if ready || found != self.status.listeners {
            self.status.listeners = found;
            self.announce();
        }
    }

    fn on_connect(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let peer = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials);
            if !peer.is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw()) {
                continue;
            }
            if let Ok(client) = Client::new(stream) {
                self.clients.insert(self.next_client, client);
                self.next_client += 1;
            }
        }
    }

    /// Lines of the platform: in the log, or for whoever is attached.
    pub(crate) fn note(&mut self, lines: &[String]) {
        if self.config.stdio == Stdio::Log {
            return self.output.note(lines);
        }
        let end = if matches!(self.config.stdio, Stdio::Terminal { .. }) { "\r\n" } else { "\n" };
        let text: String = lines.iter().map(|line| format!(" !     {line}{end}")).collect();
        self.put(MAIN, Side::Err, text.into_bytes());
    }

    pub(crate) fn announce(&mut self) {
        let event = ShimEvent::Status { status: self.status.clone() };
        for client in self.clients.values_mut().filter(|client| client.role == Role::Watcher) {
            client.event(&event);
        }
    }

    fn flush_clients(&mut self) {
        let gone: Vec<u64> = self.clients.iter_mut().filter_map(|(id, client)| (!client.flush()).then_some(*id)).collect();
        for id in gone {
            self.hang_up(id);
        }
    }

    pub(crate) fn hang_up(&mut self, id: u64) {
        let Some(client) = self.clients.remove(&id) else { return };
        let Role::Attached(program) = client.role else { return };
        if let Some(joined) = self.programs.get_mut(&program).filter(|joined| joined.client == Some(id)) {
            joined.client = None;
            // Whose terminal it was hears of it, as it would from the kernel; another main program goes on until it is told to stop.
            if program != MAIN || joined.terminal {
                self.signal(program, Signal::SIGHUP as i32);
            }
        }
    }

    /// Lets the program run.
    pub(crate) fn start(&mut self) -> std::result::Result<(), String> {
        if self.status.phase != Phase::Created {
            return Ok(());
        }
        let process = &self.config.process;
        let env = process.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let (args, cwd) = (process.args.clone(), process.cwd.to_string_lossy().into_owned());
        let terminal = match self.config.stdio {
            Stdio::Terminal { size } => Some((size.rows, size.cols)),
            Stdio::Pipes | Stdio::Log => None,
        };
        self.launch(Run { id: MAIN, terminal, cwd, args, env })?;
        failpoint("shim.started");
        if let Some(wall) = self.config.limits.wall_ms {
            self.kill_at = Some(Instant::now() + Duration::from_millis(wall));
        }
        self.status.phase = if self.config.port.is_some() { Phase::Running } else { Phase::Ready };
        if self.listens.is_none() && self.config.port.is_some() {
            self.look_at = Some((Instant::now() + TICK, TICK));
        }
        self.announce();
        Ok(())
    }

    /// A further program, attached to a client.
    pub(crate) fn exec(&mut self, spec: ExecSpec, client: u64) -> std::result::Result<u32, String> {
        if self.gone || self.status.phase == Phase::Created {
            return Err("the container does not run; start it first".into());
        }
        if spec.args.is_empty() {
            return Err("no command was given".into());
        }
        let process = &self.config.process;
        let mut env = process.env.clone();
        env.retain(|(key, _)| !spec.env.iter().any(|(other, _)| other == key));
        env.extend(spec.env);
        let env = env.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let (id, cwd) = (self.next_program, process.cwd.to_string_lossy().into_owned());
        self.next_program += 1;
        let mut program = Program::new(spec.terminal.is_some());
        program.join(client);
        self.programs.insert(id, program);
        let terminal = spec.terminal.map(|size| (size.rows, size.cols));
        self.launch(Run { id, terminal, cwd, args: spec.args, env }).inspect_err(|_| {
            self.programs.remove(&id);
        })?;
        Ok(id)
    }

    fn launch(&mut self, run: Run) -> std::result::Result<(), String> {
        let Some(program) = self.programs.get_mut(&run.id) else { return Err("no such program".into()) };
        let ends = match &self.config.stdio {
            _ if run.terminal.is_some() => None,
            Stdio::Log if run.id == MAIN => Some(program.make_log_pipe()),
            _ => Some(program.make_pipes()),
        };
        let ends = ends.transpose().map_err(|error| error.to_string())?;
        let fds: Vec<i32> = ends.iter().flatten().map(AsRawFd::as_raw_fd).collect();
        tell(&mut self.channel, &ToInit::Run(run), &fds).map_err(|errno| format!("landfall-init does not answer: {}", errno.desc()))
    }

    /// A signal for one program's foreground group.
    pub(crate) fn signal(&mut self, id: u32, signal: i32) {
        let _ = tell(&mut self.channel, &ToInit::Signal { id, signal }, &[]);
    }

    /// SIGTERM now, SIGKILL after the grace.
    pub(crate) fn stop(&mut self, grace: Duration) {
        if self.gone {
            return;
        }
        failpoint("shim.stop.asked");
        let asked = self.status.phase != Phase::Created && !grace.is_zero();
        let told = asked && tell(&mut self.channel, &ToInit::SignalAll { signal: Signal::SIGTERM as i32 }, &[]).is_ok();
        let at = Instant::now() + if told { grace } else { Duration::ZERO };
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
        if self.status.phase != Phase::Stopping {
            self.status.phase = Phase::Stopping;
            self.announce();
        }
    }

    fn kill(&mut self) {
        self.kill_at = None;
        if self.gone {
            return;
        }
        self.cgroups.kill();
        // Our own child, not reaped yet: the number is still its. Its end is the end of all in its pid namespace.
        let _ = kill(Pid::from_raw(self.status.init_pid), Signal::SIGKILL);
    }

    /// Init is gone, and with it every process. That is reported once the log has the container's last words.
    fn ended(&mut self, code: i32) {
        if self.channel_open {
            let _ = self.on_init();
        }
        let ids: Vec<u32> = self.programs.keys().copied().collect();
        for id in ids.into_iter().filter(|id| *id != MAIN) {
            self.program_ended(id, 137);
        }
        self.output.ending();
        self.drain(MAIN);
        self.output.finish();
        let status = ExitStatus { code: self.main_code.unwrap_or(code), oom: self.out_of_memory || self.cgroups.stats().oom_kills > 0 };
        (self.kill_at, self.look_at, self.listens, self.memory_ended, self.channel_open) = (None, None, None, None, false);
        self.gone = true;
        self.after_the_log(Then::Report(status));
    }

    /// Says how the container ended, and leaves nothing of it.
    pub(crate) fn report(&mut self, status: ExitStatus) {
        exit::finish(&self.config, &self.cgroups, status);
        self.status.phase = Phase::Exited { status };
        self.announce();
        for client in self.clients.values_mut().filter(|client| matches!(client.role, Role::Stopper | Role::Attached(MAIN))) {
            client.finish(&ShimEvent::Exited { status });
        }
    }
}

/// The frame kind of a side.
pub(crate) fn kind(side: Side) -> landfall_runtime_wire::frame::Kind {
    use landfall_runtime_wire::frame::Kind;
    if side == Side::Out { Kind::Stdout } else { Kind::Stderr }
}

/// All signals, as events.
pub(crate) fn signal_fd() -> Result<SignalFd> {
    let signals = SigSet::all();
    signals.thread_block().map_err(call("block signals"))?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(call("make a signal descriptor"))
}
