//! What clients ask, and the answers.

use std::time::Duration;

use landfall_init::MAIN;
use landfall_runtime_wire::Stdio;
use landfall_runtime_wire::agent::Control;
use landfall_runtime_wire::frame::Kind;
use landfall_runtime_wire::shim::{Phase, ShimEvent, ShimRequest};

use crate::behind::Then;
use crate::client::Role;
use crate::supervise::{Shim, kind};
use crate::sys;

impl Shim {
    /// A client's socket is readable.
    pub(crate) fn on_client(&mut self, id: u64) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let alive = client.fill();
        loop {
            let Some(client) = self.clients.get_mut(&id) else { return };
            let role = client.role;
            match client.next() {
                Ok(None) => break,
                Ok(Some((kind, body))) => self.on_frame(id, role, kind, &body),
                Err(_) => return self.hang_up(id),
            }
        }
        if !alive {
            self.hang_up(id);
        }
    }

    fn on_frame(&mut self, id: u64, role: Role, kind: Kind, body: &[u8]) {
        match (role, kind) {
            (Role::New, Kind::Json) => match serde_json::from_slice(body) {
                Ok(request) => self.on_request(id, request),
                Err(error) => self.fail(id, format!("not a request of this version: {error}; update agent and shim together")),
            },
            (Role::Attached(program), Kind::Stdin) => {
                if let Some(program) = self.programs.get_mut(&program) {
                    program.feed(body);
                }
            }
            (Role::Attached(program), Kind::Json) => match serde_json::from_slice(body) {
                Ok(Control::Resize { size }) => {
                    let terminal =
                        self.programs.get(&program).filter(|program| program.terminal).and_then(|program| program.output.as_ref());
                    if let Some(terminal) = terminal {
                        // A terminal that just went away needs no size.
                        let _ = sys::set_terminal_size(terminal, size.rows, size.cols);
                    }
                }
                Ok(Control::Signal { signal }) => self.signal(program, signal),
                Err(_) => self.hang_up(id),
            },
            (Role::Watcher | Role::Stopper | Role::Done, _) => {}
            _ => self.hang_up(id),
        }
    }

    fn on_request(&mut self, id: u64, request: ShimRequest) {
        let status = ShimEvent::Status { status: self.status.clone() };
        match request {
            ShimRequest::Status => self.answer(id, &status),
            ShimRequest::Watch => {
                if let Some(client) = self.clients.get_mut(&id) {
                    client.role = Role::Watcher;
                    client.event(&status);
                }
            }
            ShimRequest::Start => match self.start() {
                Ok(()) => self.answer(id, &ShimEvent::Done),
                Err(message) => self.fail(id, message),
            },
            ShimRequest::Stats => self.answer(id, &ShimEvent::Stats { stats: self.cgroups.stats() }),
            ShimRequest::Note { lines } => {
                self.note(&lines);
                self.after_the_log(Then::Answer(id));
            }
            ShimRequest::Stop { grace_ms } => self.on_stop(id, Duration::from_millis(grace_ms)),
            ShimRequest::Attach if self.config.stdio == Stdio::Log => {
                self.fail(id, "this container's output goes to the log; read it there, or run a further process with exec".into());
            }
            ShimRequest::Attach => self.attach(id),
            ShimRequest::Exec { spec } => match self.exec(spec, id) {
                Ok(program) => self.join(id, program),
                Err(message) => self.fail(id, message),
            },
            ShimRequest::Quit if self.exited() => {
                self.leave();
                self.after_the_log(Then::Answer(id));
            }
            ShimRequest::Quit => self.fail(id, "the container lives; stop it first".into()),
        }
    }

    fn on_stop(&mut self, id: u64, grace: Duration) {
        if let Phase::Exited { status } = self.status.phase {
            return self.answer(id, &ShimEvent::Exited { status });
        }
        if let Some(client) = self.clients.get_mut(&id) {
            client.role = Role::Stopper;
        }
        self.stop(grace);
    }

    fn attach(&mut self, id: u64) {
        let Some(main) = self.programs.get_mut(&MAIN) else { return };
        let before = main.join(id);
        let kept = main.kept();
        if let Some(before) = before.and_then(|before| self.clients.get_mut(&before)) {
            before.finish(&ShimEvent::Failed { message: "somebody else attached to this container".into() });
        }
        self.join(id, MAIN);
        let phase = self.status.phase;
        let Some(client) = self.clients.get_mut(&id) else { return };
        for (side, bytes) in kept {
            client.bytes(kind(side), &bytes);
        }
        if let Phase::Exited { status } = phase {
            client.finish(&ShimEvent::Exited { status });
        }
    }

    fn join(&mut self, id: u64, program: u32) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.role = Role::Attached(program);
            client.event(&ShimEvent::Attached);
        }
    }

    pub(crate) fn answer(&mut self, id: u64, event: &ShimEvent) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.finish(event);
        }
    }

    fn fail(&mut self, id: u64, message: String) {
        self.answer(id, &ShimEvent::Failed { message });
    }
}
