//! Answers the router gives itself.

use tokio::io::AsyncWriteExt;

use super::deadline::Deadline;
use super::transport::Transport;
use crate::budget::BudgetVec;
use crate::http1::token::put_decimal;
use crate::pages::reason;
use tokio::time::Instant;

/// Sent by the acceptor when there is no room for a connection: small, fixed, no page.
pub(crate) const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 38\r\nRetry-After: 1\r\n\
Connection: close\r\n\r\nToo many connections. Try again soon.\r\n";

/// More than the head of a page takes.
const HEAD: usize = 512;

/// A page and how it is sent.
pub(crate) struct Page<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a str,
    pub(crate) is_head: bool,
    pub(crate) keep_alive: bool,
}

/// Writes a page. False if the client did not take it by `due`.
pub(crate) async fn send<T: Transport>(client: &mut T, out: &mut BudgetVec, timer: &mut Deadline, due: Instant, page: &Page<'_>) -> bool {
    out.clear();
    let body = if page.is_head { "" } else { page.body };
    // Large pages, which only operators make, go by themselves when memory is short.
    let together = out.fit(HEAD + body.len());
    out.extend_from_slice(b"HTTP/1.1 ");
    put_decimal(out, u64::from(page.status));
    out.push(b' ');
    out.extend_from_slice(reason(page.status).as_bytes());
    out.extend_from_slice(b"\r\nContent-Type: text/html; charset=utf-8\r\nCache-Control: no-cache, no-store\r\nContent-Length: ");
    put_decimal(out, page.body.len() as u64);
    // Said in both cases: clients of HTTP/1.0 need to be told that it stays open.
    out.extend_from_slice(if page.keep_alive { b"\r\nConnection: keep-alive\r\n\r\n" } else { b"\r\nConnection: close\r\n\r\n" });
    if together {
        out.extend_from_slice(body.as_bytes());
    }
    let (_, mut writer) = client.split();
    let write = async {
        writer.write_all(out).await?;
        if together { Ok(()) } else { writer.write_all(body.as_bytes()).await }
    };
    matches!(timer.limit(due, write).await, Some(Ok(())))
}
