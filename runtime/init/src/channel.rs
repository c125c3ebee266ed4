//! The socket between shim and init: whole messages, each with the descriptors that ride on it.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::{BadMessage, MAX_MESSAGE, Message};

/// Most descriptors on one message.
const MAX_FDS: usize = 3;

/// Length and number of descriptors.
const HEADER: usize = 5;

/// One end of the socket.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    pending: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// A message and what rode with it.
pub type Received<M> = (M, Vec<OwnedFd>);

impl Channel {
    /// Over one end of a stream socket pair.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, pending: Vec::new(), fds: Vec::new() }
    }

    /// For poll.
    pub fn fd(&self) -> &OwnedFd {
        &self.socket
    }

    /// Sends one message whole. The peer always reads, so waiting for room is bounded by `timeout_ms` only against a hostile one.
    pub fn send<M: Message>(&mut self, message: &M, fds: &[RawFd], timeout_ms: u16) -> nix::Result<()> {
        let body = message.encode();
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.push(fds.len() as u8);
        bytes.extend_from_slice(&body);
        let rights = [ControlMessage::ScmRights(fds)];
        let mut control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
        let mut sent = 0;
        while sent < bytes.len() {
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            match sendmsg::<()>(self.socket.as_raw_fd(), &[IoSlice::new(&bytes[sent..])], control, flags, None) {
                Ok(count) => {
                    sent += count;
                    control = &[];
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    use std::os::fd::AsFd;
                    let mut wait = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut wait, PollTimeout::from(timeout_ms)) {
                        Ok(0) => return Err(Errno::ETIMEDOUT),
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there, once. `false` = the peer is gone.
    pub fn fill(&mut self) -> nix::Result<bool> {
        let mut buffer = [0_u8; 16 * 1024];
        let mut space = nix::cmsg_space!([RawFd; MAX_FDS]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let count = match recvmsg::<()>(self.socket.as_raw_fd(), &mut slices, Some(&mut space), flags) {
            Ok(received) => {
                for message in received.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(fds) = message {
                        self.fds.extend(fds.into_iter().map(own));
                    }
                }
                received.bytes
            }
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(true),
            Err(Errno::ECONNRESET) => 0,
            Err(error) => return Err(error),
        };
        self.pending.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    /// The next whole message, if it is there, with as many descriptors as its header says (fewer, if the peer lies).
    pub fn take_message<M: Message>(&mut self) -> Result<Option<Received<M>>, BadMessage> {
        let Some((&[a, b, c, d, fds], rest)) = self.pending.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_MESSAGE {
            return Err(BadMessage);
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = M::decode(body)?;
        self.pending.drain(..HEADER + length);
        if self.pending.is_empty() {
            self.pending.shrink_to(1024);
        }
        let count = usize::from(fds).min(self.fds.len());
        Ok(Some((message, self.fds.drain(..count).collect())))
    }
}

#[allow(unsafe_code)]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel just made this descriptor for us in recvmsg; nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FromInit;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    #[test]
    fn messages_and_descriptors_arrive_whole() {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let (mut a, mut b) = (Channel::new(a), Channel::new(b));
        let (read, _write) = nix::unistd::pipe().unwrap();
        a.send(&FromInit::Hello, &[], 100).unwrap();
        a.send(&FromInit::Started { id: 4 }, &[read.as_raw_fd()], 100).unwrap();
        let mut got = Vec::new();
        while got.len() < 2 {
            assert!(b.fill().unwrap());
            while let Some((message, fds)) = b.take_message::<FromInit>().unwrap() {
                got.push((message, fds.len()));
            }
        }
        assert_eq!(got, [(FromInit::Hello, 0), (FromInit::Started { id: 4 }, 1)]);
        drop(a);
        assert!(!b.fill().unwrap());
    }
}
