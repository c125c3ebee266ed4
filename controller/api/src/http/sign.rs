//! URLs that carry their own permission: log sessions, output streams, uploads. They are given only to a caller who was
//! authorised, are opened without credentials (the Heroku CLI sends none), and survive a restart of the server.
//!
//! A ticket is `base64url(payload) "." base64url(HMAC-SHA256(key, purpose 0x00 payload))`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The key of all tickets, derived by the composition root from the server's secret key.
#[derive(Clone)]
pub struct TicketKey([u8; 32]);

impl TicketKey {
    /// Wraps 32 secret bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Seals a payload for one purpose.
    pub(crate) fn seal<T: serde::Serialize>(&self, purpose: &str, payload: &T) -> String {
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(payload).expect("tickets are plain data"));
        let tag = hmac_sha256(&self.0, &[purpose.as_bytes(), &[0], payload.as_bytes()]);
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Opens a ticket; `None` if it was not made with this key for this purpose.
    pub(crate) fn open<T: serde::de::DeserializeOwned>(&self, purpose: &str, ticket: &str) -> Option<T> {
        let (payload, tag) = ticket.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let expected = hmac_sha256(&self.0, &[purpose.as_bytes(), &[0], payload.as_bytes()]);
        if !bool::from(expected.as_slice().ct_eq(&tag)) {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }
}

/// RFC 2104 with SHA-256, for a key no longer than a block.
fn hmac_sha256(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        block
    };
    let mut inner = Sha256::new_with_prefix(pad(0x36));
    for part in parts {
        inner.update(part);
    }
    Sha256::new_with_prefix(pad(0x5c)).chain_update(inner.finalize()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_matches_rfc_4231_case_1() {
        // The RFC's key is twenty bytes 0x0b; HMAC pads keys with zeros.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = hmac_sha256(&key, &[b"Hi ", b"There"]);
        assert_eq!(hex::encode(tag), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn tickets_open_only_unchanged_and_for_their_purpose() {
        let key = TicketKey::new([7; 32]);
        let ticket = key.seal("logs", &("blog", 3));
        assert_eq!(key.open::<(String, i32)>("logs", &ticket), Some(("blog".into(), 3)));
        assert_eq!(key.open::<(String, i32)>("build", &ticket), None);
        assert_eq!(TicketKey::new([8; 32]).open::<(String, i32)>("logs", &ticket), None);
        for position in 0..ticket.len() {
            let mut bytes = ticket.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.open::<(String, i32)>("logs", std::str::from_utf8(&bytes).unwrap()), None, "{position}");
        }
    }
}
