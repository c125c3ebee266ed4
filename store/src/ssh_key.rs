//! One line of an OpenSSH public key file.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use crate::{Result, StoreError};

const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
const LONGEST: usize = 16 * 1024;

pub(crate) struct PublicKey {
    /// Type, key, comment, single blanks between.
    pub(crate) line: String,
    pub(crate) comment: String,
    /// `SHA256:` and unpadded base64, as `ssh-keygen -l` prints it.
    pub(crate) fingerprint: String,
}

impl PublicKey {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fail = |reason| Err(StoreError::BadKey { reason });
        let text = text.trim();
        if text.contains("PRIVATE KEY") {
            return fail("it is a private key; keep it secret and give the .pub file instead");
        }
        if text.len() > LONGEST {
            return fail("it is too long");
        }
        if text.chars().any(char::is_control) {
            return fail("it must be one line");
        }
        let mut words = text.split_whitespace();
        let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
            return fail("it must start with a type and a key, as in \"ssh-ed25519 AAAA…\"");
        };
        if !TYPES.contains(&kind) {
            return fail("its type is not one of ssh-ed25519, ssh-rsa, ecdsa-sha2-… or a security key's");
        }
        let Ok(blob) = STANDARD.decode(encoded) else { return fail("the key is not base64") };
        // RFC 4253, section 6.6: the blob starts with its own type, as a length-prefixed string.
        let inner = blob.split_first_chunk::<4>().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
        if inner != Some(kind.as_bytes()) {
            return fail("the key does not fit its type; it may be cut short");
        }
        let comment = words.collect::<Vec<_>>().join(" ");
        let line = format!("{kind} {encoded} {comment}").trim_end().to_owned();
        Ok(Self { line, comment, fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@home";

    #[test]
    fn reads_what_ssh_keygen_writes() {
        let key = PublicKey::parse(&format!("  {KEY}\n")).unwrap();
        assert_eq!((key.line.as_str(), key.comment.as_str()), (KEY, "me@home"));
        assert!(key.fingerprint.starts_with("SHA256:") && key.fingerprint.len() == 50, "{}", key.fingerprint);
    }

    #[test]
    fn refuses_what_is_no_key() {
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-dss AAAA",
            "ssh-rsa !!!",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            &KEY.replace("ssh-ed25519", "ssh-rsa"),
        ] {
            assert_eq!(PublicKey::parse(bad).err().unwrap().code(), "bad_key", "{bad}");
        }
        assert!(PublicKey::parse(&format!("{KEY}\n{KEY}")).is_err());
    }
}
