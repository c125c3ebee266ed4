//! What a shim and the `landfall-init` in its container say to each other, over one private socket that only these two hold.
//!
//! No serde: pid 1 counts against the app's memory. A message is a length (4 bytes, big endian), a number of
//! file descriptors (1 byte; they ride with the first byte), a kind (1 byte) and fields. Each side treats the other's bytes as untrusted: init shares its user with the app.

pub mod channel;

/// Longest message: an environment may be large.
pub const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// The descriptor init finds its end of the socket at.
pub const CONTROL_FD: i32 = 3;

/// The id of the container's main process; further ones count up from 1.
pub const MAIN: u32 = 0;

/// A program to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The caller's number for it.
    pub id: u32,
    /// Rows and columns of its terminal; `None` = the three descriptors that come with the message.
    pub terminal: Option<(u16, u16)>,
    /// Working directory.
    pub cwd: String,
    /// Command and arguments.
    pub args: Vec<String>,
    /// `KEY=value`.
    pub env: Vec<String>,
}

/// What the shim tells init.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToInit {
    /// Start a program.
    Run(Run),
    /// A signal for one program's process group (its terminal's foreground group, if it has one).
    Signal {
        /// Which program.
        id: u32,
        /// Signal number.
        signal: i32,
    },
    /// A signal for every process in the container but init.
    SignalAll {
        /// Signal number.
        signal: i32,
    },
}

/// What init tells the shim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromInit {
    /// Init is up. The seccomp descriptor that tells of `listen(2)` comes with it, if the kernel gave one.
    Hello,
    /// The program runs. The terminal's master comes with it, if it has one.
    Started {
        /// Which program.
        id: u32,
    },
    /// The program could not be started; nothing more follows of it.
    Failed {
        /// Which program.
        id: u32,
        /// Exit code a shell would give: 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// The program ended.
    Exited {
        /// Which program.
        id: u32,
        /// Exit code, or 128 + signal.
        code: i32,
    },
}

/// The peer's bytes make no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadMessage;

impl std::fmt::Display for BadMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a message of landfall-init's socket")
    }
}

impl std::error::Error for BadMessage {}

/// A message that can be written to bytes and read back.
pub trait Message: Sized {
    /// Kind and fields.
    fn encode(&self) -> Vec<u8>;
    /// The message of those bytes.
    fn decode(body: &[u8]) -> Result<Self, BadMessage>;
}

impl Message for ToInit {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Run(run) => {
                out.push(1);
                number(&mut out, run.id);
                let (rows, cols) = run.terminal.unwrap_or((0, 0));
                number(&mut out, u32::from(run.terminal.is_some()));
                number(&mut out, u32::from(rows));
                number(&mut out, u32::from(cols));
                text(&mut out, &run.cwd);
                list(&mut out, &run.args);
                list(&mut out, &run.env);
            }
            Self::Signal { id, signal } => {
                out.push(2);
                number(&mut out, *id);
                number(&mut out, *signal as u32);
            }
            Self::SignalAll { signal } => {
                out.push(3);
                number(&mut out, *signal as u32);
            }
        }
        out
    }

    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let mut input = Input(body);
        let message = match input.byte()? {
            1 => {
                let id = input.number()?;
                let terminal = input.number()? != 0;
                let size = (input.number()? as u16, input.number()? as u16);
                Self::Run(Run { id, terminal: terminal.then_some(size), cwd: input.text()?, args: input.list()?, env: input.list()? })
            }
            2 => Self::Signal { id: input.number()?, signal: input.number()? as i32 },
            3 => Self::SignalAll { signal: input.number()? as i32 },
            _ => return Err(BadMessage),
        };
        input.end(message)
    }
}

impl Message for FromInit {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Hello => out.push(1),
            Self::Started { id } => {
                out.push(2);
                number(&mut out, *id);
            }
            Self::Failed { id, code, message } => {
                out.push(3);
                number(&mut out, *id);
                number(&mut out, *code as u32);
                text(&mut out, message);
            }
            Self::Exited { id, code } => {
                out.push(4);
                number(&mut out, *id);
                number(&mut out, *code as u32);
            }
        }
        out
    }

    fn decode(body: &[u8]) -> Result<Self, BadMessage> {
        let mut input = Input(body);
        let message = match input.byte()? {
            1 => Self::Hello,
            2 => Self::Started { id: input.number()? },
            3 => Self::Failed { id: input.number()?, code: input.number()? as i32, message: input.text()? },
            4 => Self::Exited { id: input.number()?, code: input.number()? as i32 },
            _ => return Err(BadMessage),
        };
        input.end(message)
    }
}

fn number(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

fn text(out: &mut Vec<u8>, value: &str) {
    number(out, value.len() as u32);
    out.extend_from_slice(value.as_bytes());
}

fn list(out: &mut Vec<u8>, values: &[String]) {
    number(out, values.len() as u32);
    for value in values {
        text(out, value);
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BadMessage> {
        let (head, tail) = self.0.split_at_checked(count).ok_or(BadMessage)?;
        self.0 = tail;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, BadMessage> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, BadMessage> {
        self.take(4)?.try_into().map(u32::from_be_bytes).map_err(|_| BadMessage)
    }

    fn text(&mut self) -> Result<String, BadMessage> {
        let length = self.number()? as usize;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| BadMessage)
    }

    fn list(&mut self) -> Result<Vec<String>, BadMessage> {
        let count = self.number()? as usize;
        // Each entry takes at least its length field, so a lying count ends early instead of allocating.
        (0..count).map(|_| self.text()).collect()
    }

    fn end<T>(self, message: T) -> Result<T, BadMessage> {
        if self.0.is_empty() { Ok(message) } else { Err(BadMessage) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_refuse() {
        let run = ToInit::Run(Run {
            id: 7,
            terminal: Some((24, 80)),
            cwd: "/app".into(),
            args: vec!["sh".into(), String::new()],
            env: vec!["A=é\n".into()],
        });
        for message in [run, ToInit::Signal { id: 1, signal: 28 }, ToInit::SignalAll { signal: 15 }] {
            let bytes = message.encode();
            assert_eq!(ToInit::decode(&bytes), Ok(message));
            for cut in 0..bytes.len() {
                assert_eq!(ToInit::decode(&bytes[..cut]), Err(BadMessage));
            }
        }
        for message in [
            FromInit::Hello,
            FromInit::Started { id: 3 },
            FromInit::Failed { id: 3, code: 127, message: "no".into() },
            FromInit::Exited { id: 0, code: -1 },
        ] {
            assert_eq!(FromInit::decode(&message.encode()), Ok(message));
        }
        assert_eq!(FromInit::decode(&[1, 1]), Err(BadMessage));
        assert_eq!(ToInit::decode(&[3, 255, 255]), Err(BadMessage));
    }
}
