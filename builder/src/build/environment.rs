//! What a build sees of the operator's settings and the app's config.

use std::collections::BTreeMap;

use landfall_model::ConfigVars;

use crate::config::BuildSettings;
use crate::sandbox::BuildFile;

/// The container's own bundle; the agent adds the operator's certificates to it.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Variables of the container itself: those the lifecycle hands on by name. They hold no secret of an app.
pub(super) fn container(settings: &BuildSettings, stack: &str) -> Vec<(String, String)> {
    let mut env = vec![("CNB_STACK_ID".to_owned(), stack.to_owned())];
    let proxies = [("HTTP_PROXY", &settings.http_proxy), ("HTTPS_PROXY", &settings.https_proxy), ("NO_PROXY", &settings.no_proxy)];
    for (name, value) in proxies {
        if let Some(value) = value {
            env.push((name.to_owned(), value.clone()));
            env.push((name.to_ascii_lowercase(), value.clone()));
        }
    }
    env
}

/// `/platform/env/<NAME>`, one file a variable, in a tmpfs: mirrors and certificates of the operator, then the app's config over them.
pub(super) fn platform(settings: &BuildSettings, config: &ConfigVars) -> Vec<BuildFile> {
    let mut all: BTreeMap<&str, &str> = BTreeMap::new();
    if settings.ca_bundle.is_some() {
        let readers = [
            "SSL_CERT_FILE",
            "PIP_CERT",
            "REQUESTS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS",
            "NPM_CONFIG_CAFILE",
            "GIT_SSL_CAINFO",
        ];
        all.extend(readers.map(|name| (name, CERTIFICATES)));
    }
    if let Some(index) = &settings.pip_index {
        all.extend([("PIP_INDEX_URL", index.as_str()), ("UV_DEFAULT_INDEX", index)]);
    }
    if let Some(registry) = &settings.npm_registry {
        all.extend(["NPM_CONFIG_REGISTRY", "YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER"].map(|name| (name, registry.as_str())));
    }
    all.extend(settings.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    all.extend(config.0.iter().map(|(key, value)| (key.as_str(), value.expose())));
    all.into_iter()
        .filter(|(name, _)| !name.is_empty() && !name.contains(['/', '\0', '=']) && *name != "." && *name != "..")
        .map(|(name, value)| BuildFile { path: format!("/platform/env/{name}").into(), mode: 0o444, content: value.as_bytes().to_vec() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use landfall_model::SecretString;

    #[test]
    fn the_apps_config_wins_over_the_operators_mirrors() {
        let settings = BuildSettings {
            http_proxy: Some("http://proxy:3128".into()),
            pip_index: Some("https://mirror/simple".into()),
            npm_registry: Some("https://mirror/npm".into()),
            ca_bundle: Some("/etc/ca.pem".into()),
            env: [("GOPROXY".to_owned(), "off".to_owned()), ("../x".to_owned(), "no".to_owned())].into(),
            ..BuildSettings::default()
        };
        let config =
            ConfigVars([("PIP_INDEX_URL", "own"), ("MULTI", "a\nb\"ü")].map(|(k, v)| (k.parse().unwrap(), SecretString::new(v))).into());
        let files: Vec<String> = platform(&settings, &config)
            .iter()
            .map(|file| format!("{} = {:?}", file.path.display(), String::from_utf8_lossy(&file.content)))
            .collect();
        insta::assert_snapshot!(files.join("\n"));
        assert_eq!(container(&settings, "s").len(), 3);
        assert!(!format!("{:?}", platform(&settings, &config)).contains("own"));
    }
}
