//! One connection: requests one after the other until a side wants no more.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::answer::{Answer, Answers, Body};
use super::request::{self, NoRequest};
use super::{Limits, status, validator};

/// How long, and how much, is read from a client after the last answer, so that it gets the answer and no reset.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 256 * 1024;

/// Serves `stream` to its end.
pub(crate) fn serve(mut stream: TcpStream, answers: &Answers, limits: &Limits, crowded: impl Fn() -> bool) {
    if stream.set_nodelay(true).and_then(|()| stream.set_write_timeout(Some(limits.write_time))).is_err() {
        return;
    }
    let mut ahead = Vec::new();
    loop {
        let (answer, head_only, keep) = match request::read(&mut stream, &mut ahead, limits, &crowded) {
            Ok(request) => (answers.to(&request), request.method == "HEAD", request.keep_alive && !crowded()),
            Err(NoRequest::Refused(code)) => (Answer::page(code), false, false),
            Err(NoRequest::Gone) => return,
        };
        if write(&mut stream, answer, head_only, keep).is_err() {
            return;
        }
        if !keep {
            return linger(&mut stream);
        }
    }
}

fn write(stream: &mut TcpStream, answer: Answer, head_only: bool, keep: bool) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, status::reason(answer.status));
    let mut header = |name: &str, value: &str| {
        let _ = write!(head, "{name}: {value}\r\n"); // A String takes everything.
    };
    answer.headers.iter().for_each(|(name, value)| header(name, value));
    if let Some(date) = validator::http_date(validator::now()) {
        header("Date", &date);
    }
    match &answer.body {
        Body::None => {}
        Body::Text(text) => header("Content-Length", &text.len().to_string()),
        Body::File(_, len) => header("Content-Length", &len.to_string()),
    }
    header("Connection", if keep { "keep-alive" } else { "close" });
    head.push_str("\r\n");
    match answer.body {
        Body::Text(text) if !head_only => stream.write_all((head + &text).as_bytes()),
        Body::File(file, len) if !head_only => {
            stream.write_all(head.as_bytes())?;
            let sent = std::io::copy(&mut file.take(len), stream)?;
            if sent == len { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        }
        _ => stream.write_all(head.as_bytes()),
    }
}

fn linger(stream: &mut TcpStream) {
    let deadline = Instant::now() + LINGER;
    let (mut chunk, mut read) = ([0; 4096], 0);
    if stream.shutdown(Shutdown::Write).is_err() {
        return;
    }
    while read < LINGER_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => read += n as u64,
            _ => return,
        }
    }
}
