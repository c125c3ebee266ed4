//! Which host names exclude each other (trust rule H11). The router looks for a wildcard at every depth, so all here goes by suffix.

/// The name without its `*.`.
fn base(host: &str) -> &str {
    host.strip_prefix("*.").unwrap_or(host)
}

/// Whether `name` lies below `parent`, however deep.
fn below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether a wildcard answers for something that `name` means.
fn covers(wildcard: &str, name: &str) -> bool {
    wildcard.strip_prefix("*.").is_some_and(|parent| below(base(name), parent))
}

/// A wildcard never covers another tenant's name, and no name is taken from under another tenant's wildcard.
pub(crate) fn collides(ours: &str, theirs: &str) -> bool {
    ours == theirs || covers(ours, theirs) || covers(theirs, ours)
}

/// Names that no app may have beside its own `<app>.<platform domain>`.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    platform: String,
    /// Where API, git and dashboard answer, if by a name.
    api: Option<String>,
}

impl Reserved {
    /// `api_host` without a port; an address reserves nothing.
    pub(crate) fn new(platform: &str, api_host: Option<&str>) -> Self {
        let api = api_host.map(|host| host.trim_end_matches('.').to_ascii_lowercase());
        let api = api.filter(|host| !host.is_empty() && !host.starts_with('[') && host.parse::<std::net::IpAddr>().is_err());
        Self { platform: platform.to_ascii_lowercase(), api }
    }

    /// The platform's name that is in the way of a custom domain.
    pub(crate) fn against(&self, host: &str) -> Option<&str> {
        let taken = |own: &str| base(host) == own || below(base(host), own) || covers(host, own);
        // Whoever answers above the dashboard could set cookies for it.
        let above = |own: &str| below(own, base(host));
        self.api.as_deref().filter(|api| taken(api) || above(api)).or_else(|| Some(self.platform.as_str()).filter(|own| taken(own)))
    }

    /// Whether an app's own name would be the API's.
    pub(crate) fn is_api(&self, host: &str) -> bool {
        self.api.as_deref() == Some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_reach_every_depth() {
        for (ours, theirs) in [
            ("*.example.com", "*.example.com"),
            ("*.example.com", "login.eu.example.com"),
            ("*.example.com", "*.eu.example.com"),
            ("*.com", "*.example.com"),
            ("www.example.com", "www.example.com"),
        ] {
            assert!(collides(ours, theirs) && collides(theirs, ours), "{ours} {theirs}");
        }
        for (ours, theirs) in [("*.example.com", "example.com"), ("*.example.com", "an-example.com"), ("*.a.example.com", "b.example.com")]
        {
            assert!(!collides(ours, theirs) && !collides(theirs, ours), "{ours} {theirs}");
        }
    }

    #[test]
    fn the_platforms_names_are_its_own() {
        let reserved = Reserved::new("apps.example.com", Some("paas.example.org"));
        for host in ["apps.example.com", "x.apps.example.com", "*.apps.example.com", "*.x.apps.example.com", "*.example.com", "*.com"] {
            assert_eq!(reserved.against(host), Some("apps.example.com"), "{host}");
        }
        for host in ["paas.example.org", "*.paas.example.org", "a.paas.example.org", "example.org", "*.example.org", "*.org"] {
            assert_eq!(reserved.against(host), Some("paas.example.org"), "{host}");
        }
        for host in ["www.example.com", "example.com", "*.shop.example.com", "www.example.org", "*.shop.example.org"] {
            assert_eq!(reserved.against(host), None, "{host}");
        }
        for address in ["127.0.0.1", "[::1]", ""] {
            assert_eq!(Reserved::new("localhost", Some(address)).api, None);
        }
        assert!(Reserved::new("localhost", Some("Api.localhost")).is_api("api.localhost"));
    }
}
