//! The npm registry by curl: which versions of a package there are, and one of them, checked and unpacked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use semver::Version;
use serde::Deserialize;
use sha2::{Digest, Sha512};

use crate::contract::Problem;

const DEFAULT: &str = "https://registry.npmjs.org";

/// Where a version's archive is, and what it must hash to.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Dist {
    tarball: String,
    #[serde(default)]
    integrity: String,
}

#[derive(Deserialize)]
struct Release {
    dist: Dist,
}

#[derive(Deserialize)]
struct Packument {
    versions: BTreeMap<String, Release>,
}

/// A registry and a place for downloads.
pub(super) struct Registry {
    base: String,
    scratch: PathBuf,
}

impl Registry {
    /// The one `NPM_CONFIG_REGISTRY` names, or npm's own.
    pub(super) fn new(scratch: &Path) -> Self {
        let named = ["NPM_CONFIG_REGISTRY", "npm_config_registry"].iter().find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()));
        let base = named.unwrap_or_else(|| DEFAULT.to_owned()).trim_end_matches('/').to_owned();
        Self { base, scratch: scratch.to_owned() }
    }

    /// Every version of `package`.
    pub(super) fn versions(&self, package: &str) -> Result<BTreeMap<Version, Dist>, Problem> {
        let packument: Packument = self.json(package, package)?;
        Ok(packument.versions.into_iter().filter_map(|(v, r)| Some((Version::parse(&v).ok()?, r.dist))).collect())
    }

    /// One version of `package`.
    pub(super) fn version(&self, package: &str, version: &Version) -> Result<Dist, Problem> {
        let release: Release = self.json(&format!("{package}/{version}"), &format!("{package} {version}"))?;
        Ok(release.dist)
    }

    /// Puts the content of an archive into `to`, without its top directory.
    pub(super) fn unpack(&self, package: &str, dist: &Dist, to: &Path) -> Result<(), Problem> {
        let archive = self.scratch.join("archive.tgz");
        // A mirror may answer with the addresses of the registry it mirrors.
        let url = dist.tarball.strip_prefix(DEFAULT).map_or_else(|| dist.tarball.clone(), |path| format!("{}{path}", self.base));
        self.curl(&url, &archive, &[], package)?;
        verify(&archive, &dist.integrity, package)?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--gzip", "--strip-components=1", "--no-same-owner", "--file"]).arg(&archive).arg("--directory").arg(to);
        let said = tar.output().map_err(|e| Problem::new(format!("cannot run tar: {e}\nThe stack's build image should have it.")))?;
        let _ = std::fs::remove_file(&archive);
        if said.status.success() {
            return Ok(());
        }
        Err(Problem::new(format!("The archive of {package} cannot be unpacked.\n\n{}", String::from_utf8_lossy(&said.stderr).trim_end())))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, path: &str, about: &str) -> Result<T, Problem> {
        let file = self.scratch.join("answer.json");
        let url = format!("{}/{}", self.base, path.replacen("@yarnpkg/", "@yarnpkg%2f", 1));
        self.curl(&url, &file, &["--header", "Accept: application/vnd.npm.install-v1+json, application/json;q=0.8"], about)?;
        let bytes = std::fs::read(&file).map_err(|e| Problem::io("read", &file, e))?;
        serde_json::from_slice(&bytes).map_err(|e| {
            Problem::new(format!(
                "The npm registry {} gave no package data for {about}: {e}\nDoes NPM_CONFIG_REGISTRY name a registry?",
                self.shown()
            ))
        })
    }

    fn curl(&self, url: &str, to: &Path, more: &[&str], about: &str) -> Result<(), Problem> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--location", "--globoff", "--proto", "=https,http", "--compressed"]);
        curl.args(["--retry", "2", "--connect-timeout", "15", "--speed-time", "60", "--speed-limit", "1000"]).args(more);
        let cafile = ["NPM_CONFIG_CAFILE", "NODE_EXTRA_CA_CERTS"].iter().find_map(std::env::var_os);
        if let (Some(file), None, None) = (cafile, std::env::var_os("CURL_CA_BUNDLE"), std::env::var_os("SSL_CERT_FILE")) {
            curl.arg("--cacert").arg(file);
        }
        curl.arg("--output").arg(to).arg(url);
        let ran = curl.output().map_err(|e| Problem::new(format!("cannot run curl: {e}\nThe stack's build image should have it.")))?;
        if ran.status.success() {
            return Ok(());
        }
        Err(Problem::new(format!(
            "{about} could not be had from the npm registry {}.\n\n{}\n\n\
             If this server has no way to it, the operator can name a mirror (NPM_CONFIG_REGISTRY) or a proxy (HTTPS_PROXY).",
            self.shown(),
            String::from_utf8_lossy(&ran.stderr).trim_end()
        )))
    }

    /// The address without a password.
    fn shown(&self) -> String {
        match self.base.split_once("://") {
            Some((scheme, rest)) => match rest.split_once('@') {
                Some((_, host)) => format!("{scheme}://{host}"),
                None => self.base.clone(),
            },
            None => self.base.clone(),
        }
    }
}

/// Compares the sha512 of a file with what the registry says.
fn verify(file: &Path, integrity: &str, about: &str) -> Result<(), Problem> {
    let bytes = std::fs::read(file).map_err(|e| Problem::io("read", file, e))?;
    let have = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&bytes));
    let mut wanted = integrity.split_whitespace().filter_map(|i| i.strip_prefix("sha512-")).peekable();
    if wanted.peek().is_none() {
        return Err(Problem::new(format!("The npm registry gives no sha512 checksum for {about}, so it is not used.")));
    }
    if wanted.any(|w| w.split('?').next() == Some(have.as_str())) {
        return Ok(());
    }
    Err(Problem::new(format!(
        "The archive of {about} is not what the npm registry promises: its sha512 differs.\n\nPush again; if it happens again, ask the operator of the registry or mirror."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_promised_bytes_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        std::fs::write(&file, "abc").unwrap();
        let abc = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
        assert!(verify(&file, &format!("sha1-x {abc}"), "a").is_ok());
        assert!(verify(&file, "sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "a").is_err());
        std::fs::write(&file, "abd").unwrap();
        assert!(verify(&file, abc, "a").unwrap_err().to_string().contains("sha512 differs"));
    }

    #[test]
    fn a_password_in_the_address_is_not_shown() {
        let registry = Registry { base: "https://me:secret@mirror.example/npm".into(), scratch: PathBuf::new() };
        assert_eq!(registry.shown(), "https://mirror.example/npm");
    }
}
