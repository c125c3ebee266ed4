//! The systemd units of one instance, rendered from its configuration: one for the dynos, one for each of our processes.

use std::path::{Path, PathBuf};

use tera::{Context, Tera};

use super::supervise::ROLES;
use crate::args::ConfigArg;
use crate::config::Config;

/// Where an operator's own units are; they win over those of packages.
const FOLDER: &str = "/etc/systemd/system";
/// Beside the name of the instance: whose file it is.
const TEMPLATES: [(&str, &str); 5] = [
    (MAIN, include_str!("../../../packaging/systemd/landfall.service")),
    ("-agent.service", include_str!("../../../packaging/systemd/landfall-agent.service")),
    ("-router.service", include_str!("../../../packaging/systemd/landfall-router.service")),
    ("-router.socket", include_str!("../../../packaging/systemd/landfall-router.socket")),
    ("-server.service", include_str!("../../../packaging/systemd/landfall-server.service")),
];
const MAIN: &str = ".service";
/// What a unit with `ProtectHome=yes` cannot see.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// Name and text of each unit.
pub(crate) struct Units {
    instance: String,
}

impl Units {
    /// Those of an instance.
    pub(crate) fn of(config: &Config) -> Self {
        Self { instance: config.instance.clone() }
    }

    /// The unit that holds the dynos and pulls the others in.
    pub(crate) fn main(&self) -> String {
        format!("{}.service", self.instance)
    }

    /// The unit of agent, router or server.
    pub(crate) fn role(&self, role: &str) -> String {
        format!("{}-{role}.service", self.instance)
    }

    /// The units of agent, router and server, in starting order.
    pub(crate) fn roles(&self) -> Vec<String> {
        ROLES.iter().map(|role| self.role(role.name)).collect()
    }

    /// The cgroup all dynos are under. It is below a unit that systemd has delegated: everywhere else the tree is its own.
    pub(crate) fn cgroup_parent(&self) -> PathBuf {
        Path::new("system.slice").join(self.main()).join("dynos")
    }

    /// Whether they have been written on this machine.
    pub(crate) fn are_written(&self) -> bool {
        self.file(MAIN).exists()
    }

    fn file(&self, suffix: &str) -> PathBuf {
        Path::new(FOLDER).join(format!("{}{suffix}", self.instance))
    }

    /// Writes those that changed. `true` = systemd must read them again.
    pub(crate) fn write(&self, program: &Path, arg: &ConfigArg, config: &Config) -> std::io::Result<bool> {
        let mut changed = false;
        for (suffix, text) in self.texts(program, arg, config) {
            let file = self.file(suffix);
            if std::fs::read_to_string(&file).is_ok_and(|there| there == text) {
                continue;
            }
            let mut new = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644)).tempfile_in(FOLDER)?;
            std::io::Write::write_all(&mut new, text.as_bytes())?;
            new.as_file().sync_all()?;
            new.persist(file)?;
            changed = true;
        }
        Ok(changed)
    }

    fn texts(&self, program: &Path, arg: &ConfigArg, config: &Config) -> Vec<(&'static str, String)> {
        let words = ["--config".to_owned(), arg.config.display().to_string()].into_iter();
        let words = words.chain(arg.set.iter().flat_map(|pair| ["--set".to_owned(), pair.clone()]));
        let seen = [program, &arg.config, &config.data_dir, &config.run_dir, &config.libexec_dir];
        let at_home = seen.iter().any(|path| HOMES.iter().any(|home| path.starts_with(home)));
        let mut context = Context::new();
        context.insert("instance", &self.instance);
        context.insert("landfall", &quoted(&program.display().to_string()));
        // In arguments, and only there, a dollar sign stands for a variable.
        context.insert("arguments", &words.map(|word| quoted(&word).replace('$', "$$")).collect::<Vec<_>>().join(" "));
        context.insert("cgroup_parent", &self.cgroup_parent().display().to_string());
        context.insert("user", &config.user);
        context.insert("router_listen", &config.router.listen.to_string());
        context.insert("data_dir", &quoted(&config.data_dir.display().to_string()));
        context.insert("run_dir", &quoted(&config.run_dir.display().to_string()));
        context.insert("protect_home", if at_home { "read-only" } else { "yes" });
        let mut tera = Tera::new();
        tera.add_raw_templates(TEMPLATES).expect("our templates compile");
        TEMPLATES.map(|(name, _)| (name, tera.render(name, &context).expect("every variable of our templates is given"))).into()
    }
}

/// One word as systemd reads it (systemd.syntax(7), "Quoting"; systemd.unit(5), "Specifiers").
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        '%' => "%%".to_owned(),
        other => other.to_string(),
    };
    format!("\"{}\"", word.chars().map(escape).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(config: &Config, set: &[&str]) -> String {
        let arg = ConfigArg { config: "/etc/landfall/landfall.toml".into(), set: set.iter().map(|pair| (*pair).to_owned()).collect() };
        let texts = Units::of(config).texts(Path::new("/usr/local/bin/landfall"), &arg, config);
        texts.iter().map(|(suffix, text)| format!("=== landfall{suffix}\n{text}")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn units_follow_the_configuration() {
        insta::assert_snapshot!(texts(&Config::default(), &[]));
    }

    #[test]
    fn an_instance_beside_others_has_names_and_folders_of_its_own() {
        let config = Config { instance: "second".into(), data_dir: "/home/me/land fall".into(), ..Config::default() };
        let text = texts(&config, &["store.url=postgres://x%20y/$z"]);
        assert!(text.contains("Requires=second.service\n") && text.contains("=system.slice/second.service/dynos\n"), "{text}");
        assert!(text.contains("ReadWritePaths=\"/home/me/land fall\" /run/landfall\n"), "{text}");
        assert!(text.contains("ProtectHome=read-only\n"), "{text}");
        assert!(text.contains(" server --config /etc/landfall/landfall.toml --set \"store.url=postgres://x%%20y/$$z\"\n"), "{text}");
    }

    #[test]
    fn words_survive_systemds_reading() {
        assert_eq!(quoted("/usr/local/bin/landfall"), "/usr/local/bin/landfall");
        assert_eq!(quoted("a \"b\" \\ 5%\n"), r#""a \"b\" \\ 5%%\n""#);
        assert_eq!(quoted(""), "\"\"");
    }
}
