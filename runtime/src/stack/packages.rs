//! Which Debian packages are in the images.

/// The run image's packages in a suite. A library's package is named by its version, so the name changes with the suite.
pub(super) fn run(suite: &str) -> Vec<&'static str> {
    let named = |package| match (suite, package) {
        ("bullseye", "libffi8") => "libffi7",
        ("bullseye", "libssl3") => "libssl1.1",
        ("forky" | "sid" | "testing" | "unstable", "libxml2") => "libxml2-16",
        (_, package) => package,
    };
    RUN.into_iter().map(named).collect()
}

/// The run image: what finished apps commonly need, as bookworm and trixie name it.
const RUN: [&str; 27] = [
    "bash",
    "ca-certificates",
    "coreutils",
    "curl",
    "git",
    "gzip",
    "iproute2",
    "less",
    "libcurl4",
    "libffi8",
    "libgomp1",
    "libjpeg62-turbo",
    "libpq5",
    "libsqlite3-0",
    "libssl3",
    "libxml2",
    "libxslt1.1",
    "libyaml-0-2",
    "netbase",
    "openssl",
    "procps",
    "python3",
    "python3-venv",
    "sqlite3",
    "tzdata",
    "xz-utils",
    "zlib1g",
];

/// What the build image has on top.
pub(super) const BUILD: [&str; 16] = [
    "build-essential",
    "file",
    "libffi-dev",
    "libjpeg62-turbo-dev",
    "libpq-dev",
    "libsqlite3-dev",
    "libssl-dev",
    "libxml2-dev",
    "libxslt1-dev",
    "libyaml-dev",
    "patch",
    "pkg-config",
    "python3-dev",
    "python3-pip",
    "unzip",
    "zlib1g-dev",
];

/// dpkg leaves these out: nobody reads manuals in a container.
pub(super) const LEAVE_OUT: [&str; 8] = [
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/lintian/*",
    "path-exclude=/usr/share/groff/*",
];
