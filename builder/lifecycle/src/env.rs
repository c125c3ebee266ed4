//! Environment rules of the contract: the allow-list, layers' env files and directories, the platform's variables.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::files;

/// What detect and build see of the lifecycle's own environment.
const KEPT: &[&str] = &[
    "HOME",
    "HOSTNAME",
    "CNB_STACK_ID",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "PATH",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PKG_CONFIG_PATH",
];
/// Joined with `:` when the platform sets them.
const PATHS: &[&str] = &["PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH"];

/// A process environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Env(pub BTreeMap<OsString, OsString>);

impl Env {
    /// All of this process's variables.
    pub(crate) fn inherited() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The part of `self` that buildpacks may see.
    pub(crate) fn allowed(&self) -> Self {
        Self(self.0.iter().filter(|(k, _)| KEPT.iter().any(|n| k.as_os_str() == *n)).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    pub(crate) fn get(&self, key: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(key.as_ref()).map(OsString::as_os_str)
    }

    pub(crate) fn set(&mut self, key: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(key.into(), value.into());
    }

    fn prepend(&mut self, key: &OsStr, value: &OsStr, delimiter: &OsStr) {
        let joined = match self.get(key).filter(|v| !v.is_empty()) {
            Some(old) => [value.as_bytes(), delimiter.as_bytes(), old.as_bytes()].concat(),
            None => value.as_bytes().to_vec(),
        };
        self.set(key, OsString::from_vec(joined));
    }

    fn append(&mut self, key: &OsStr, value: &OsStr, delimiter: &OsStr) {
        let joined = match self.get(key).filter(|v| !v.is_empty()) {
            Some(old) => [old.as_bytes(), delimiter.as_bytes(), value.as_bytes()].concat(),
            None => value.as_bytes().to_vec(),
        };
        self.set(key, OsString::from_vec(joined));
    }

    /// Variables of `/platform/env`: one file each, the content is the value.
    pub(crate) fn add_platform(&mut self, platform: &Path) {
        for (key, value) in values(&platform.join("env")) {
            if PATHS.iter().any(|p| key == *p) {
                self.prepend(&key, &value, OsStr::new(":"));
            } else {
                self.set(key, value);
            }
        }
    }

    /// The implicit directories of a layer: `bin`, `lib` and, for builds, `include` and `pkgconfig`.
    pub(crate) fn add_layer_dirs(&mut self, layer: &Path, build: bool) {
        let always = [("bin", "PATH"), ("lib", "LD_LIBRARY_PATH")];
        let at_build = [("lib", "LIBRARY_PATH"), ("include", "CPATH"), ("pkgconfig", "PKG_CONFIG_PATH")];
        for (dir, key) in always.iter().chain(if build { &at_build[..] } else { &[] }) {
            let path = layer.join(dir);
            if path.is_dir() {
                self.prepend(OsStr::new(key), path.as_os_str(), OsStr::new(":"));
            }
        }
    }

    /// The files of one env directory. `plain` is what a file without suffix does.
    pub(crate) fn add_env_dir(&mut self, dir: &Path) {
        let files = values(dir);
        let delimiters: BTreeMap<&[u8], &OsStr> =
            files.iter().filter_map(|(f, v)| Some((f.as_bytes().strip_suffix(b".delim")?, v.as_os_str()))).collect();
        for (file, value) in &files {
            let bytes = file.as_bytes();
            let split = bytes.iter().position(|b| *b == b'.').unwrap_or(bytes.len());
            let (key, action) = (OsStr::from_bytes(&bytes[..split]), &bytes[split..]);
            let delimiter = delimiters.get(key.as_bytes()).copied().unwrap_or_default();
            match action {
                b"" | b".override" => self.set(key, value),
                b".default" if self.get(key).is_none_or(OsStr::is_empty) => self.set(key, value),
                b".append" => self.append(key, value, delimiter),
                b".prepend" => self.prepend(key, value, delimiter),
                _ => {}
            }
        }
    }
}

/// Name and content of each regular file (through links) of a directory.
fn values(dir: &Path) -> Vec<(OsString, OsString)> {
    let regular = files::sorted(dir).into_iter().filter(|p| p.is_file());
    regular.filter_map(|p| Some((p.file_name()?.to_owned(), OsString::from_vec(std::fs::read(&p).ok()?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_do_what_the_contract_says() {
        let dir = tempfile::tempdir().unwrap();
        for (file, value) in [
            ("A", "new"),
            ("B.default", "x"),
            ("C.default", "c"),
            ("P.prepend", "1"),
            ("P.delim", ":"),
            ("Q.append", "2"),
            ("Z.strange", "z"),
        ] {
            std::fs::write(dir.path().join(file), value).unwrap();
        }
        let mut env = Env::default();
        for (key, value) in [("A", "old"), ("B", "b"), ("P", "0"), ("Q", "1")] {
            env.set(key, value);
        }
        env.add_env_dir(dir.path());
        let shown: Vec<_> = env.0.iter().map(|(k, v)| format!("{}={}", k.display(), v.display())).collect();
        assert_eq!(shown, ["A=new", "B=b", "C=c", "P=1:0", "Q=12"]);
    }
}
