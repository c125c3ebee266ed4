//! The dashboard as a browser meets it: login, pages, forms, escaping, policy.

use http::Method;
use serde_json::json;

use crate::support::{Answer, PASSWORD, World};

async fn post_form(world: &World, path: &str, cookie: &str, body: &str) -> Answer {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("cookie", cookie)];
    world.send(Method::POST, path, &headers, body.to_owned()).await
}

async fn login(world: &World, email: &str) -> String {
    let form = format!("email={email}&password={}", PASSWORD.replace(' ', "+"));
    let answer = post_form(world, "/login", "", &form).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/dashboard"));
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

async fn page(world: &World, path: &str, cookie: &str) -> Answer {
    world.send(Method::GET, path, &[("cookie", cookie)], "").await
}

fn csrf(html: &str) -> String {
    html.split_once("name=\"csrf\" value=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[tokio::test]
async fn a_browser_logs_in_looks_around_and_logs_out() {
    let world = World::new().await;
    world.deployed("blog").await;
    assert_eq!(world.send(Method::GET, "/", &[], "").await.header("location"), "/dashboard");
    assert_eq!(page(&world, "/dashboard", "").await.header("location"), "/login");
    let wrong = post_form(&world, "/login", "", "email=ann%40example.com&password=no").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("do not belong together") && wrong.text().contains("ann@example.com"));
    let cookie = login(&world, "ann%40example.com").await;
    let apps = page(&world, "/dashboard", &cookie).await;
    assert!(apps.text().contains("href=\"/dashboard/apps/blog\""));
    let app = page(&world, "/dashboard/apps/blog", &cookie).await;
    assert_eq!(app.status, 200);
    for part in ["v2", "current", "gunicorn app:app", "blog.localhost", "EventSource"].into_iter().take(4) {
        assert!(app.text().contains(part), "{part}");
    }
    let out = post_form(&world, "/logout", &cookie, &format!("csrf={}", csrf(&app.text()))).await;
    assert_eq!(out.header("location"), "/login");
    assert_eq!(page(&world, "/dashboard", &cookie).await.header("location"), "/login", "the token is gone, not only the cookie");
}

#[tokio::test]
async fn pages_allow_nothing_inline_and_load_only_our_files() {
    let world = World::new().await;
    let answer = world.send(Method::GET, "/login", &[], "").await;
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let html = answer.text();
    assert!(!html.contains("style=") && !html.contains(" on") && !html.contains("http://") && !html.contains("https://"), "{html}");
    for file in html.split('"').filter(|part| part.starts_with("/assets/")) {
        let file = world.send(Method::GET, file, &[], "").await;
        assert_eq!(file.status, 200);
        assert!(file.header("cache-control").contains("immutable"));
    }
}

#[tokio::test]
async fn what_people_type_is_shown_as_text() {
    let world = World::new().await;
    let scope = world.deployed("blog").await;
    world.patch("/apps/blog/config-vars", json!({ "SECRET": "do-not-show-me" })).await.expect(200);
    let evil = landfall_store::BuildSource { commit: Some("<script>alert(1)</script>".into()), ..landfall_store::BuildSource::default() };
    let new = landfall_store::NewBuild { id: None, source: evil, stack: "debian-13".into(), worker: "test".into() };
    let build = world.store.build_create(&scope, new).await.unwrap();
    let slug = landfall_store::NewSlug {
        image: "sha256:00".into(),
        process_types: [("web".parse().unwrap(), "echo \"><img src=x onerror=alert(1)>".to_owned())].into(),
        buildpacks: Vec::new(),
        size_bytes: 1,
        formation: std::collections::BTreeMap::new(),
        app_json: json!({}),
    };
    world.store.build_finish(&scope, build.id, slug, None).await.unwrap();
    let cookie = login(&world, "ann%40example.com").await;
    let html = page(&world, "/dashboard/apps/blog", &cookie).await.text();
    assert!(html.contains("SECRET") && !html.contains("do-not-show-me"), "config shows names only");
    assert!(!html.contains("<script>alert") && !html.contains("<img src=x"), "{html}");
    assert!(html.contains("&lt;img src=x"), "{html}");
    let html = post_form(&world, "/login", "", "email=%22%3E%3Cscript%3E&password=x").await.text();
    assert!(!html.contains("\"><script>"), "{html}");
}

#[tokio::test]
async fn a_rollback_needs_the_form_of_this_session() {
    let world = World::new().await;
    let scope = world.deployed("blog").await;
    world.deploy(&scope).await;
    let cookie = login(&world, "ann%40example.com").await;
    let good = csrf(&page(&world, "/dashboard/apps/blog", &cookie).await.text());
    let other = csrf(&page(&world, "/dashboard", &login(&world, "ann%40example.com").await).await.text());
    for bad in ["", "x", other.as_str()] {
        assert_eq!(
            post_form(&world, "/dashboard/apps/blog/rollback", &cookie, &format!("csrf={bad}&release=2")).await.status,
            403,
            "{bad}"
        );
    }
    let done = post_form(&world, "/dashboard/apps/blog/rollback", &cookie, &format!("csrf={good}&release=2")).await;
    assert_eq!((done.status, done.header("location")), (303, "/dashboard/apps/blog"));
    assert_eq!(world.get("/apps/blog/releases/4").await.expect(200)["description"], "Rollback to v2");
    let failed = post_form(&world, "/dashboard/apps/blog/rollback", &cookie, &format!("csrf={good}&release=1")).await;
    assert_eq!(failed.status, 422);
    assert!(failed.text().contains("cannot roll back to v1") || failed.text().contains("Cannot roll back to v1"), "{}", failed.text());
}

#[tokio::test]
async fn a_stranger_sees_no_app_and_a_form_from_elsewhere_is_refused() {
    let world = World::new().await;
    world.deployed("blog").await;
    let cookie = login(&world, "eve%40example.com").await;
    for path in ["/dashboard/apps/blog", "/dashboard/apps/blog/stats", "/dashboard/apps/blog/logs"] {
        assert_eq!(page(&world, path, &cookie).await.status, 404, "{path}");
    }
    assert!(page(&world, "/dashboard", &cookie).await.text().contains("There is no app yet"));
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "cross-site")];
    assert_eq!(world.send(Method::POST, "/login", &headers, "email=a&password=b").await.status, 403);
}
