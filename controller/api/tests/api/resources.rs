//! Each resource: status, headers, refusals. That every answer has its published shape is looked at wherever one comes: `World::send`.

use http::Method;
use serde_json::{Value, json};

use crate::schema::check;
use crate::support::{PASSWORD, World};

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn login_makes_a_token_and_logout_revokes_it() {
    let world = World::new().await;
    let login = |password: &'static str| {
        let header = basic("Ann@Example.com", password);
        let world = &world;
        async move {
            world
                .send(
                    Method::POST,
                    "/oauth/authorizations",
                    &[("authorization", &header), ("content-type", "application/json")],
                    r#"{"description":"CLI","expires_in":"2592000","scope":["global"]}"#,
                )
                .await
        }
    };
    let refused = login("wrong").await.expect(401);
    insta::assert_json_snapshot!(refused, @r#"
    {
      "id": "unauthorized",
      "message": "Invalid email or password. Try again: landfall login"
    }
    "#);
    let made = login(PASSWORD).await.expect(201);
    assert_eq!(made["user"]["email"], "ann@example.com");
    let left = made["access_token"]["expires_in"].as_i64().unwrap();
    assert!((2_591_000..=2_592_000).contains(&left), "{left}");
    let token = made["access_token"]["token"].as_str().unwrap();

    let account = world.call_as(token, Method::GET, "/account", Value::Null).await.expect(200);
    let as_password = world.send(Method::GET, "/account", &[("authorization", &basic("", token))], "").await.expect(200);
    assert_eq!(as_password, account);
    let listed = world.call_as(token, Method::GET, "/oauth/authorizations", Value::Null).await;
    assert!(!listed.text().contains(token), "a token is shown once");
    listed.expect(200);

    world.call_as(token, Method::DELETE, "/oauth/sessions/~", Value::Null).await.expect(200);
    world.call_as(token, Method::GET, "/account", Value::Null).await.expect(401);
    let audit = world.store.audit_list(&world.store.authenticate_token(&world.token, None).await.unwrap().unwrap(), 50).await.unwrap();
    let actions: Vec<_> = audit.iter().map(|entry| entry.event.action.as_str()).collect();
    for action in ["login.failed", "login", "token.create", "token.revoke"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let world = World::with(|config| config.logins_per_minute = 2).await;
    let header = basic("ann@example.com", "guess");
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(world.send(Method::POST, "/oauth/authorizations", &[("authorization", &header)], "").await.status);
    }
    assert_eq!(statuses, [401, 401, 429]);
}

#[tokio::test]
async fn apps_are_made_listed_renamed_and_destroyed() {
    let world = World::new().await;
    let app = world.post("/apps", Value::Null).await.expect(201);
    let name = app["name"].as_str().unwrap();
    let parts: Vec<_> = name.split('-').collect();
    assert!(parts.len() == 3 && parts[2].len() == 4, "{name}");
    let releases = world.get(&format!("/apps/{name}/releases")).await.expect(200);
    assert_eq!(releases[0]["version"], 1);

    world.post("/apps", json!({ "name": "blog" })).await.expect(201);
    for (bad, part) in
        [("blog", "already taken"), ("../x", "lower-case"), ("a234567890123456789012345678901", "3 to 30"), ("api", "reserved")]
    {
        let refused = world.post("/apps", json!({ "name": bad })).await.expect(422);
        assert_eq!(refused["id"], "invalid_params");
        assert!(refused["message"].as_str().unwrap().contains(part), "{refused}");
    }
    let all = world.get("/apps").await.expect(200);
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(world.get("/users/~/apps").await.expect(200), all);

    let on = world.patch("/apps/blog", json!({ "maintenance": true, "name": "weblog" })).await.expect(200);
    assert_eq!((on["name"].as_str(), on["maintenance"].as_bool()), (Some("weblog"), Some(true)));
    let by_id = world.get(&format!("/apps/{}", on["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(by_id["name"], "weblog");
    world.get("/apps/weblog/pipeline-couplings").await.expect(404);
    world.delete("/apps/weblog").await.expect(200);
    world.get("/apps/weblog").await.expect(404);
}

#[tokio::test]
async fn config_changes_are_releases_and_bad_keys_are_named() {
    let world = World::new().await;
    world.deployed("blog").await;
    let value = "line one\nline \"two\" — ünïcode 🚀";
    let all = world.patch("/apps/blog/config-vars", json!({ "GREETING": value, "B": "2" })).await.expect(200);
    assert_eq!(all, json!({ "B": "2", "GREETING": value }));
    let newest = world.get_with("/apps/blog/releases", ("range", "version ..; order=desc,max=1")).await;
    assert_eq!((newest.status, newest.json()[0]["version"].as_i64()), (206, Some(3)));
    assert_eq!(world.patch("/apps/blog/config-vars", json!({ "B": null })).await.expect(200), json!({ "GREETING": value }));
    assert_eq!(world.get("/apps/blog/releases/v3/config-vars").await.expect(200)["B"], "2");
    for bad in ["a=b", "PORT", "A B", "1A", ""] {
        let refused = world.patch("/apps/blog/config-vars", json!({ bad: "secret-value" })).await;
        assert_eq!(refused.status, 422, "{bad}");
        assert!(!refused.text().contains("secret-value"));
    }
    let number = world.patch("/apps/blog/config-vars", json!({ "N": 1 })).await.expect(422);
    assert_eq!(number["message"], "The value of N must be a string, or null to unset it. Quote it: {\"N\": \"1\"}.");
    assert_eq!(world.get("/apps/blog/releases").await.expect(200).as_array().unwrap().len(), 4);
    // Past the store's own limit it is the store that answers, in words, and not the body cap.
    let large = world.patch("/apps/blog/config-vars", json!({ "BIG": "x".repeat(landfall_store::MAX_CONFIG_BYTES + 1) })).await.expect(422);
    assert!(large["message"].as_str().unwrap().contains("bytes"), "{large}");
}

#[tokio::test]
async fn releases_are_found_by_version_and_id_and_rolled_back() {
    let world = World::new().await;
    let scope = world.deployed("blog").await;
    world.deploy(&scope).await;
    let two = world.get("/apps/blog/releases/2").await.expect(200);
    assert!(two["output_stream_url"].is_string(), "it has a release phase");
    let id = two["id"].as_str().unwrap();
    let by_id = world.get(&format!("/apps/blog/releases/{id}")).await.expect(200);
    assert_eq!(by_id["version"], 2);
    let made = world.post("/apps/blog/releases", json!({ "release": id })).await.expect(201);
    assert_eq!((made["version"].as_i64(), made["description"].as_str()), (Some(4), Some("Rollback to v2")));
    let refused = world.post("/apps/blog/releases", json!({ "release": "v1" })).await.expect(422);
    assert_eq!(refused["id"], "invalid_params");
    world.post("/apps/blog/releases", json!({ "release": "v99" })).await.expect(404);
    world.get("/apps/blog/releases/x").await.expect(404);
}

#[tokio::test]
async fn formation_takes_every_spelling_and_refuses_too_much() {
    let world = World::new().await;
    world.deployed("blog").await;
    world.get("/apps/blog/formation").await.expect(200);
    let changed = world
        .patch(
            "/apps/blog/formation",
            json!({ "updates": [{ "type": "web", "quantity": "2", "size": "standard-2x" }, { "type": "worker", "quantity": "+1" }] }),
        )
        .await
        .expect(200);
    insta::assert_json_snapshot!(changed, { "[].id" => "[id]", "[].app.id" => "[id]", "[].dyno_size.id" => "[id]", "[].created_at" => "[time]", "[].updated_at" => "[time]" }, @r#"
    [
      {
        "app": {
          "id": "[id]",
          "name": "blog"
        },
        "command": "gunicorn app:app",
        "created_at": "[time]",
        "dyno_size": {
          "id": "[id]",
          "name": "Standard-2X"
        },
        "id": "[id]",
        "quantity": 2,
        "size": "Standard-2X",
        "type": "web",
        "updated_at": "[time]"
      },
      {
        "app": {
          "id": "[id]",
          "name": "blog"
        },
        "command": "python work.py",
        "created_at": "[time]",
        "dyno_size": {
          "id": "[id]",
          "name": "Standard-1X"
        },
        "id": "[id]",
        "quantity": 1,
        "size": "Standard-1X",
        "type": "worker",
        "updated_at": "[time]"
      }
    ]
    "#);
    let one = world.patch("/apps/blog/formation/web", json!({ "quantity": "-1", "dyno_size": { "name": "Basic" } })).await.expect(200);
    assert_eq!((one["quantity"].as_i64(), one["size"].as_str()), (Some(1), Some("Basic")));
    let refused = world
        .patch("/apps/blog/formation", json!({ "updates": [{ "type": "worker", "quantity": 0 }, { "type": "web", "quantity": 10_000 }] }))
        .await
        .expect(422);
    assert!(refused["message"].as_str().unwrap().contains("0 to 100"), "{refused}");
    assert_eq!(world.get("/apps/blog/formation/worker").await.expect(200)["quantity"], 1, "all or nothing");
    world.patch("/apps/blog/formation/nothing", json!({ "quantity": 1 })).await.expect(404);
    world.patch("/apps/blog/formation/web", json!({ "size": "mega" })).await.expect(422);
}

#[tokio::test]
async fn dynos_run_stop_and_restart() {
    let world = World::new().await;
    world.deployed("blog").await;
    world.get("/apps/blog/dynos").await.expect(200);
    world.get("/apps/blog/dynos/web.1").await.expect(200);
    world.live.asked();
    let run = world
        .post(
            "/apps/blog/dynos",
            json!({ "command": "env", "attach": true, "size": "basic", "env": { "TERM": "xterm", "COLUMNS": 80, "LINES": 24 } }),
        )
        .await
        .expect(201);
    assert!(run["attach_url"].as_str().unwrap().contains("/attach/"));
    let detached = world.post("/apps/blog/dynos", json!({ "command": "env" })).await.expect(201);
    assert_eq!(detached["attach_url"], Value::Null);
    world.post("/apps/blog/dynos", json!({ "command": " " })).await.expect(422);
    world.delete("/apps/blog/dynos").await.expect(202);
    world.delete("/apps/blog/dynos/web.1").await.expect(202);
    world.delete("/apps/blog/formations/web").await.expect(202);
    world.post("/apps/blog/dynos/web.1/actions/stop", Value::Null).await.expect(202);
    world.post("/apps/blog/formations/web/actions/stop", json!({})).await.expect(202);
    world.delete("/apps/blog/dynos/web.99").await.expect(404);
    world.delete("/apps/blog/formations/nothing").await.expect(404);
    insta::assert_snapshot!(world.live.asked().join("\n"), @r#"
    run env attach=true tty=true env={"TERM": "xterm"} window=Some((80, 24))
    run env attach=false tty=false env={} window=None
    restart All
    restart One(DynoName { process_type: ProcessType("web"), index: 1 })
    restart Type(ProcessType("web"))
    stop One(DynoName { process_type: ProcessType("web"), index: 1 })
    stop Type(ProcessType("web"))
    "#);
}

#[tokio::test]
async fn a_source_is_uploaded_built_and_cancelled() {
    let world = World::new().await;
    world.deployed("blog").await;
    let source = world.post("/sources", Value::Null).await.expect(201);
    let path = |name: &str| source["source_blob"][name].as_str().unwrap().split_once(&world.address.to_string()).unwrap().1.to_owned();
    let early = world.post("/apps/blog/builds", json!({ "source_blob": { "url": source["source_blob"]["get_url"] } })).await.expect(422);
    assert!(early["message"].as_str().unwrap().contains("Nothing was uploaded"), "{early}");
    assert_eq!(world.send(Method::PUT, &path("put_url"), &[], vec![7; 100_000]).await.status, 200);
    assert_eq!(world.send(Method::GET, &path("get_url"), &[], "").await.body.len(), 100_000);
    let build = world
        .post("/apps/blog/builds", json!({ "source_blob": { "url": source["source_blob"]["get_url"], "version": "abc" } }))
        .await
        .expect(201);
    assert_eq!((build["status"].as_str(), build["source_blob"]["version"].as_str()), (Some("pending"), Some("abc")));
    // Each build has the upload for itself, and takes it.
    let again = json!({ "source_blob": { "url": source["source_blob"]["get_url"], "version": "abc" } });
    world.post("/apps/blog/builds", again).await.expect(201);
    assert_eq!(world.live.asked(), ["build of 100000 bytes"; 2]);
    assert_eq!(std::fs::read_dir(world.dir.path().join("uploads")).unwrap().count(), 1, "the upload itself, for an hour");
    let id = build["id"].as_str().unwrap();
    assert_eq!(world.delete(&format!("/apps/blog/builds/{id}")).await.expect(200)["status"], "failed");
    world.delete(&format!("/apps/blog/builds/{id}")).await.expect(409);
    world.get("/apps/blog/builds").await.expect(200);
    for url in ["http://169.254.169.254/latest", "file:///etc/passwd", "/sources/x.y"] {
        world.post("/apps/blog/builds", json!({ "source_blob": { "url": url } })).await.expect(422);
    }
    let slug = world.get("/apps/blog/releases/2").await.expect(200)["slug"]["id"].as_str().unwrap().to_owned();
    world.get(&format!("/apps/blog/slugs/{slug}")).await.expect(200);
    world.get("/apps/blog/buildpack-installations").await.expect(200);
}

#[tokio::test]
async fn an_upload_over_the_limit_leaves_nothing() {
    let world = World::with(|config| config.max_upload_bytes = 1000).await;
    let source = world.post("/sources", Value::Null).await.expect(201);
    let url = source["source_blob"]["put_url"].as_str().unwrap().to_owned();
    let path = url.split_once(&world.address.to_string()).unwrap().1;
    world.send(Method::PUT, path, &[], vec![7; 1001]).await.expect(413);
    assert_eq!(std::fs::read_dir(world.dir.path().join("uploads")).unwrap().count(), 0);
}

#[tokio::test]
async fn keys_domains_collaborators_and_the_catalogue() {
    let world = World::new().await;
    world.deployed("blog").await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ ann@laptop";
    let key = world.post("/account/keys", json!({ "public_key": format!("{key}\n") })).await.expect(201);
    check("key", &key);
    world.get("/account/keys").await.expect(200);
    world.post("/account/keys", json!({ "public_key": "rubbish" })).await.expect(422);
    let found = world.get(&format!("/account/keys/{}", key["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(found, key);
    world.delete(&format!("/account/keys/{}", key["id"].as_str().unwrap())).await.expect(200);

    let domain = world.post("/apps/blog/domains", json!({ "hostname": "WWW.Example.com", "sni_endpoint": null })).await.expect(201);
    assert_eq!(
        (domain["hostname"].as_str(), domain["cname"].as_str(), domain["status"].as_str()),
        (Some("www.example.com"), Some("blog.localhost"), Some("none"))
    );
    world.get_with("/apps/blog/domains", ("range", "id ..; max=1000;")).await.expect(200);
    world.get("/apps/blog/domains/www.example.com").await.expect(200);
    world.post("/apps/blog/domains", json!({ "hostname": "10.0.0.1" })).await.expect(422);
    world.delete("/apps/blog/domains/www.example.com").await.expect(200);

    for (list, name) in [
        ("/apps/blog/collaborators", "id"),
        ("/apps/blog/builds", "id"),
        ("/apps/blog/features", "name"),
        ("/stacks", "name"),
        ("/regions", "id"),
        ("/oauth/authorizations", "id"),
    ] {
        let all = world.get(list).await.expect(200);
        let one = world.get(&format!("{list}/{}", all[0][name].as_str().unwrap())).await.expect(200);
        assert_eq!(one["id"], all[0]["id"], "{list}");
    }
    let second = world.post("/oauth/authorizations", json!({ "description": "another" })).await.expect(201);
    world.delete(&format!("/oauth/authorizations/{}", second["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(world.get("/users/~").await.expect(200), world.get("/account").await.expect(200));
    for empty in [
        "/apps/blog/addons",
        "/addons",
        "/apps/blog/addon-attachments",
        "/addon-attachments",
        "/apps/blog/log-drains",
        "/apps/blog/sni-endpoints",
        "/account/features",
    ] {
        assert_eq!(world.get(empty).await.expect(200), json!([]), "{empty}");
    }
    assert_eq!(world.get("/apps/blog/stats").await.expect(200)[0]["cpu_percent"], 12.3);
}

#[tokio::test]
async fn common_headers_and_conditional_requests() {
    let world = World::new().await;
    world.deployed("blog").await;
    let first = world.get("/apps/blog").await;
    assert!(first.header("request-id").parse::<uuid::Uuid>().is_ok());
    assert!(first.header("ratelimit-remaining").parse::<u32>().unwrap() < 4500);
    assert!(first.header("last-modified").ends_with(" GMT"));
    let again = world.get_with("/apps/blog", ("if-none-match", first.header("etag"))).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    world.patch("/apps/blog", json!({ "maintenance": true })).await.expect(200);
    assert_eq!(world.get_with("/apps/blog", ("if-none-match", first.header("etag"))).await.status, 200);

    assert_eq!(world.get_with("/apps", ("accept", "application/vnd.heroku+json; version=2")).await.expect(406)["id"], "not_acceptable");
    assert_eq!(world.get_with("/apps", ("accept", "text/html")).await.status, 406);
    assert_eq!(world.get_with("//apps", ("accept", "application/json")).await.status, 200);
    assert_eq!(world.get_with("/apps", ("range", "colour ..")).await.expect(416)["id"], "requested_range_not_satisfiable");
    let bearer = format!("Bearer {}", world.token);
    assert_eq!(
        world.send(Method::POST, "/apps", &[("authorization", &bearer), ("content-type", "text/plain")], "name=x").await.status,
        415
    );
    assert_eq!(
        world.send(Method::POST, "/apps", &[("authorization", &bearer), ("content-type", "application/json")], "{").await.expect(400)["id"],
        "bad_request"
    );
    assert_eq!(world.post("/apps", json!({ "name": "x".repeat(70_000) })).await.status, 413);
    assert_eq!(world.get("/nothing").await.expect(404)["id"], "not_found");
    assert_eq!(world.call(Method::PUT, "/apps", Value::Null).await.expect(405)["id"], "method_not_allowed");
    assert_eq!(world.send(Method::GET, "/health", &[], "").await.expect(200)["status"], "ok");
}

#[tokio::test]
async fn too_many_requests_are_refused() {
    let world = World::with(|config| config.requests_per_hour = 2).await;
    let statuses = [world.get("/account").await.status, world.get("/account").await.status, world.get("/account").await.status];
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(world.call_as(&world.stranger, Method::GET, "/account", Value::Null).await.status, 200, "others are not held up");
}
