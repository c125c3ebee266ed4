//! The request's body on its way into git: inflated if it must be, counted after inflation.

use std::io::Write as _;

use axum::body::Body;
use flate2::write::GzDecoder;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;

/// Compressed bytes inflated at a time: at most 1,032 times as many come out.
const STEP: usize = 2048;
/// After the limit, this many times the limit is read and thrown away, so that the client comes to read why.
const PATIENCE: u64 = 8;

struct Feed {
    stdin: Option<ChildStdin>,
    total: u64,
    limit: u64,
}

impl Feed {
    async fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.total += bytes.len() as u64;
        if self.total > self.limit {
            self.stdin = None;
        }
        if self.total > self.limit.saturating_mul(PATIENCE) {
            return Err("The request is far over the limit.".to_owned());
        }
        if let Some(pipe) = &mut self.stdin
            && pipe.write_all(bytes).await.is_err()
        {
            // git has stopped reading; what it has to say comes on its other pipes.
            self.stdin = None;
        }
        Ok(())
    }
}

/// Feeds all of it. `true` = there was more than `limit`.
pub(super) async fn feed(body: Body, stdin: Option<ChildStdin>, gzip: bool, limit: u64) -> Result<bool, String> {
    let mut feed = Feed { stdin, total: 0, limit };
    let mut inflate = gzip.then(|| GzDecoder::new(Vec::new()));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| format!("The request broke off: {error}"))?;
        let Some(decoder) = &mut inflate else {
            feed.take(&chunk).await?;
            continue;
        };
        for step in chunk.chunks(STEP) {
            decoder.write_all(step).map_err(|error| format!("The request is not gzip: {error}"))?;
            let out = std::mem::take(decoder.get_mut());
            feed.take(&out).await?;
        }
    }
    if let Some(decoder) = inflate {
        let out = decoder.finish().map_err(|error| format!("The request is not whole gzip: {error}"))?;
        feed.take(&out).await?;
    }
    Ok(feed.total > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gzip_bomb_is_counted_after_inflation() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 2000);
        assert_eq!(feed(Body::from(bomb.clone()), None, true, 1 << 20).await, Ok(false));
        assert_eq!(feed(Body::from(bomb.clone()), None, true, 1 << 19).await, Ok(true));
        assert!(feed(Body::from(bomb.clone()), None, true, 1 << 10).await.is_err());
        assert!(feed(Body::from(bomb[..100].to_vec()), None, true, 1 << 20).await.is_err());
    }
}
