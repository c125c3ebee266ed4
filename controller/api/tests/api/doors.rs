//! Every route, knocked on by people who must not come in. The list is the router's own table, so no route can be forgotten.

use http::Method;
use landfall_api::routes::{Access, table};
use serde_json::{Value, json};

use crate::support::World;

/// A path with the real names of one person's things in it.
fn filled(path: &str, real: &Value) -> String {
    path.split('/')
        .map(|part| {
            part.strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
                .map_or_else(|| part.to_owned(), |name| real[name].as_str().unwrap_or("00000000-0000-4000-8000-000000000000").to_owned())
        })
        .collect::<Vec<_>>()
        .join("/")
}

async fn real_names(world: &World) -> Value {
    world.deployed("blog").await;
    let (key, authorizations) = (add_key(world).await, world.get("/oauth/authorizations").await.expect(200));
    let build = world.get("/apps/blog/builds").await.expect(200);
    let release = world.get("/apps/blog/releases/2").await.expect(200);
    json!({
        "app": "blog", "key": key["id"], "authorization": authorizations[0]["id"], "session": authorizations[0]["id"], "release": "2", "type": "web",
        "dyno": "web.1", "build": build[0]["id"], "slug": release["slug"]["id"], "domain": "blog.localhost", "collaborator": "ann@example.com",
        "feature": "runtime-heroku-exec", "stack": "debian-13", "region": "local",
    })
}

async fn add_key(world: &World) -> Value {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ann@laptop";
    let answer = world.post("/account/keys", json!({ "public_key": format!("{key}\n") })).await;
    answer.expect(201)
}

/// Everything the owner can see, to compare before and after.
async fn everything(world: &World) -> Value {
    let mut all = Vec::new();
    for path in [
        "/account/keys",
        "/apps",
        "/apps/blog",
        "/apps/blog/config-vars",
        "/apps/blog/releases",
        "/apps/blog/formation",
        "/apps/blog/domains",
        "/apps/blog/collaborators",
        "/apps/blog/builds",
    ] {
        all.push(without_tickets(world.get(path).await.expect(200)));
    }
    Value::Array(all)
}

fn without_tickets(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().filter(|(name, _)| name != "output_stream_url").map(|(name, value)| (name, without_tickets(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_tickets).collect(),
        other => other,
    }
}

#[tokio::test]
async fn a_stranger_finds_nothing_and_changes_nothing() {
    let world = World::new().await;
    let real = real_names(&world).await;
    let before = everything(&world).await;
    world.live.asked();
    let mut knocked = 0;
    for route in table() {
        if route.access != Access::App
            && !["key", "authorization", "session"].iter().any(|name| route.path.contains(&format!("{{{name}}}")))
        {
            continue;
        }
        let path = filled(route.path, &real);
        // A body that would do its work for the owner of any of these routes.
        let body = json!({ "name": "stolen", "maintenance": true, "updates": [{ "type": "web", "quantity": 3 }], "quantity": 3, "command": "env", "hostname": "www.example.com", "release": "2",
            "user": "eve@example.com", "source_blob": { "url": "x" } });
        let body = if route.path.ends_with("config-vars") { json!({ "A": "1" }) } else { body };
        let body = if route.method == Method::GET || route.method == Method::DELETE { Value::Null } else { body };
        let answer = world.call_as(&world.stranger, route.method.clone(), &path, body).await;
        assert_eq!(answer.status, 404, "{} {path}: {}", route.method, answer.text());
        assert_eq!(answer.json()["id"], "not_found", "{} {path}", route.method);
        knocked += 1;
    }
    assert!(knocked > 40, "only {knocked} doors");
    assert_eq!(world.live.asked(), Vec::<String>::new());
    assert_eq!(everything(&world).await, before);
}

#[tokio::test]
async fn not_yours_and_not_there_are_the_same_answer() {
    let world = World::new().await;
    world.deployed("blog").await;
    let theirs = world.call_as(&world.stranger, Method::GET, "/apps/blog", Value::Null).await;
    let absent = world.call_as(&world.stranger, Method::GET, "/apps/nothing", Value::Null).await;
    assert_eq!((theirs.status, theirs.body), (absent.status, absent.body));
}

#[tokio::test]
async fn without_a_good_token_no_door_opens() {
    let world = World::new().await;
    let real = real_names(&world).await;
    for route in table() {
        let path = filled(route.path, &real);
        for credentials in [None, Some("Bearer undefined"), Some("Basic Ondyb25n")] {
            let headers: Vec<_> = credentials.map(|value| ("authorization", value)).into_iter().collect();
            let answer = world.send(route.method.clone(), &path, &headers, "").await;
            match route.access {
                Access::Account | Access::App | Access::Admin => {
                    assert_eq!((answer.status, answer.json()["id"].as_str()), (401, Some("unauthorized")), "{} {path}", route.method);
                    assert!(answer.header("www-authenticate").starts_with("Basic"));
                }
                Access::Secret => assert!(matches!(answer.status, 404 | 426), "{} {path}: {}", route.method, answer.status),
                Access::Public => assert_eq!(answer.status, 200),
            }
        }
    }
}

#[tokio::test]
async fn a_collaborator_may_work_but_not_destroy() {
    let world = World::new().await;
    world.deployed("blog").await;
    world.post("/apps/blog/collaborators", json!({ "user": "eve@example.com" })).await.expect(201);
    world.call_as(&world.stranger, Method::PATCH, "/apps/blog/config-vars", json!({ "A": "1" })).await.expect(200);
    let refused = world.call_as(&world.stranger, Method::DELETE, "/apps/blog", Value::Null).await.expect(403);
    assert_eq!(refused["id"], "forbidden");
    world.delete("/apps/blog/collaborators/eve@example.com").await.expect(200);
    world.call_as(&world.stranger, Method::GET, "/apps/blog", Value::Null).await.expect(404);
}
