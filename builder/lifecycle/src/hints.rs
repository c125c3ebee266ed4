//! What a person is told when the app is not what the buildpacks are for.

use std::path::Path;

/// Files that tell a language or a way to build that nobody here knows yet.
const FOREIGN: &[(&str, &str)] = &[
    ("go.mod", "a Go app"),
    ("Gemfile", "a Ruby app"),
    ("pom.xml", "a Java app"),
    ("build.gradle", "a Java app"),
    ("build.gradle.kts", "a Java app"),
    ("build.sbt", "a Scala app"),
    ("project.clj", "a Clojure app"),
    ("composer.json", "a PHP app"),
    ("index.php", "a PHP app"),
    ("Cargo.toml", "a Rust app"),
    ("mix.exs", "an Elixir app"),
    ("deno.json", "a Deno app"),
    ("heroku.yml", "an app built by heroku.yml"),
    ("Dockerfile", "an app built by a Dockerfile"),
];

/// `a Go app (go.mod)`, if the top directory shows it.
pub(crate) fn foreign(app: &Path) -> Option<String> {
    let (file, what) = FOREIGN.iter().find(|(file, _)| app.join(file).is_file())?;
    Some(if what.contains(file) { (*what).to_owned() } else { format!("{what} ({file})") })
}

/// No group of the built-in order passed.
pub(crate) fn nothing_detected(app: &Path, looked: &str) -> String {
    if let Some(what) = foreign(app) {
        return format!(
            "This looks like {what}, which no buildpack here can build yet.\n\n\
             Built in are Python, Node.js and static sites (looked for by {looked}). What works today:\n\
             \x20 commit the built program and a Procfile with a line such as `web: ./server`."
        );
    }
    format!(
        "No Procfile and no known language.\n\n\
         Nothing in the top directory tells how to run this app. Looked for by {looked}.\n\n\
         Add one of these and push again:\n\
         \x20 Procfile           a line such as `web: ./server` for each process\n\
         \x20 requirements.txt   for Python (or pyproject.toml with uv.lock or poetry.lock)\n\
         \x20 package.json       for Node.js (with package-lock.json, yarn.lock or pnpm-lock.yaml)\n\
         \x20 index.html         for a static site (or static.json)\n\n\
         If the app is in a subdirectory, push that directory as the top."
    )
}

/// The app's own choice of buildpacks does not pass.
pub(crate) fn chosen_but_not_detected(file: &str, failed: &str) -> String {
    format!(
        "{file} chooses the buildpacks, but not all of them are for this app.\n\n\
         These found nothing to do in the top directory: {failed}.\n\
         Add the file that such a buildpack looks for (requirements.txt, package.json, index.html …), or take it out of {file},\n\
         commit and push again."
    )
}
