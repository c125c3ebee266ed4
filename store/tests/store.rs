//! Every operation, on SQLite and on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic")]

use std::collections::BTreeMap;

use landfall_model::*;
use landfall_store::testing::{Postgres, TestStore};
use landfall_store::*;

macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(super::TestStore::sqlite().await).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name(super::TestStore::postgres().await).await;
            }
        }
    )+};
}

on_both!(
    people,
    tenants,
    releases,
    letting_go,
    crashes,
    first_deploys,
    formation,
    domains,
    patches_are_gapless,
    sealed_and_immutable,
    destroy,
    one_server,
    first_wishes,
    opening_again
);

fn new_account(email: &str, password_hash: &str) -> NewAccount {
    NewAccount { email: email.into(), name: None, password_hash: password_hash.into(), admin: false }
}

async fn owner(store: &Store) -> Principal {
    let account = store.account_create_first(&store.system(), new_account("Me@Example.com", "x")).await.unwrap();
    store.principal_for_account(&store.system(), account.id).await.unwrap()
}

async fn app(store: &Store, owner: &Principal, name: &str) -> AppScope {
    let new = NewApp { id: None, name: name.parse().unwrap(), stack: "debian-13".into() };
    let app = store.app_create(owner, new).await.unwrap();
    store.authorize(owner, &AppIdentity::Id(app.id)).await.unwrap()
}

fn change(pairs: &[(&str, Option<&str>)]) -> BTreeMap<ConfigKey, Option<SecretString>> {
    pairs.iter().map(|(key, value)| (key.parse().unwrap(), value.map(SecretString::new))).collect()
}

fn slug(types: &[(&str, &str)]) -> NewSlug {
    NewSlug {
        image: format!("sha256:{}", types.len()),
        process_types: types.iter().map(|(name, command)| (name.parse().unwrap(), (*command).to_owned())).collect(),
        buildpacks: vec!["landfall/python".into()],
        size_bytes: 10,
        formation: BTreeMap::new(),
        app_json: serde_json::json!({"healthchecks": {}}),
    }
}

async fn deploy(store: &Store, scope: &AppScope, slug: NewSlug) -> Release {
    let source = BuildSource { commit: Some("0123456789abcdef".into()), description: None, pushed: true };
    let new = NewBuild { id: None, source, stack: "debian-13".into(), worker: "w1".into() };
    let build = store.build_create(scope, new).await.unwrap();
    let (build, release) = store.build_finish(scope, build.id, slug.clone(), None).await.unwrap();
    assert_eq!((build.status, build.release), (BuildStatus::Succeeded, Some((release.id, release.version))));
    assert_eq!(store.build_finish(scope, build.id, slug, None).await.unwrap().1, release, "said twice");
    release
}

async fn people(test: TestStore) {
    let store = &test.store;
    let me = owner(store).await;
    let again = store.account_create_first(&store.system(), new_account("b@example.com", "x")).await;
    assert_eq!(again.unwrap_err().code(), "already_set_up");
    let hash = hash_password("right");
    let you = store.account_create(&me, new_account("you@example.com", &hash)).await.unwrap();
    assert_eq!(store.account_create(&me, new_account("YOU@example.com", "x")).await.unwrap_err().code(), "email_taken");
    assert_eq!(store.account_create(&me, new_account("nobody", "x")).await.unwrap_err().code(), "bad_email");
    let you = store.principal_for_account(&store.system(), you.id).await.unwrap();
    assert_eq!(store.account_create(&you, new_account("c@example.com", "x")).await.unwrap_err().code(), "forbidden");
    assert_eq!(store.authenticate_password("You@Example.com", "right").await.unwrap(), Some(you.clone()));
    assert_eq!(store.authenticate_password("you@example.com", "wrong").await.unwrap(), None);
    assert_eq!(store.authenticate_password("no@example.com", "right").await.unwrap(), None);
    assert_eq!(store.account_update(&you, Some("You".into()), None).await.unwrap().name.as_deref(), Some("You"));
    assert_eq!(store.account_get(&you).await.unwrap().email, "you@example.com");
    assert_eq!(store.account_list(&store.system()).await.unwrap().len(), 2);

    let (token, secret) = store.authorization_create(&me, NewAuthorization { description: "cli".into(), expires_in: None }).await.unwrap();
    let principal = store.authenticate_token(secret.expose(), None).await.unwrap().unwrap();
    assert_eq!((principal.account_id(), principal.authorization_id()), (me.account_id(), Some(token.id)));
    assert!(store.authorization_get(&me, token.id).await.unwrap().last_used_at.is_some());
    let (_, expired) = store
        .authorization_create(&me, NewAuthorization { expires_in: Some(std::time::Duration::ZERO), ..NewAuthorization::default() })
        .await
        .unwrap();
    assert_eq!(store.authenticate_token(expired.expose(), None).await.unwrap(), None);
    assert_eq!(store.authorization_list(&me).await.unwrap().len(), 1);
    assert_eq!(store.authorization_delete(&you, token.id).await.unwrap_err().code(), "not_found");
    for (from, entries) in [("192.0.2.7", 1), ("192.0.2.7", 1), ("2001:db8::1", 2), ("2001:db8::2", 2)] {
        store.authenticate_token(secret.expose(), Some(from.parse().unwrap())).await.unwrap().unwrap();
        let log = store.audit_list(&me, 10).await.unwrap();
        assert_eq!(log.iter().filter(|entry| entry.event.action == "token.new_address").count(), entries, "{from}");
        assert_eq!(log[0].actor_email.as_deref(), Some("me@example.com"));
    }
    store.authorization_delete(&me, token.id).await.unwrap();
    assert_eq!(store.authenticate_token(secret.expose(), None).await.unwrap(), None);

    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti me@home";
    let key = store.key_create(&me, line).await.unwrap();
    assert_eq!(store.key_create(&you, line).await.unwrap_err().code(), "key_taken");
    assert_eq!(store.principal_for_key(&key.fingerprint).await.unwrap(), Some(me.clone()));
    assert_eq!(store.key_list(&me).await.unwrap(), std::slice::from_ref(&key));
    store.key_delete(&me, &key.fingerprint).await.unwrap();
    assert_eq!(store.principal_for_key(&key.fingerprint).await.unwrap(), None);

    store.audit_append(&AuditEvent { actor: Some(me.account_id()), action: "login".into(), ..AuditEvent::default() }).await.unwrap();
    store.audit_append(&AuditEvent { action: "login.failed".into(), address: Some("::1".into()), ..AuditEvent::default() }).await.unwrap();
    let entries = store.audit_list(&me, 10).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.event.action.as_str()).take(2).collect::<Vec<_>>(), ["login.failed", "login"]);
    assert_eq!(store.audit_list(&you, 10).await.unwrap_err().code(), "forbidden");
    assert_eq!(store.audit_prune(&store.system(), std::time::Duration::ZERO).await.unwrap(), 4);
    assert!(store.audit_list(&me, 10).await.unwrap().is_empty());
}

async fn tenants(test: TestStore) {
    let store = &test.store;
    let me = owner(store).await;
    let you = store.account_create(&me, new_account("you@example.com", "x")).await.unwrap();
    let you = store.principal_for_account(&store.system(), you.id).await.unwrap();
    let mine = app(store, &me, "blog").await;
    let by_name = AppIdentity::parse("blog").unwrap();
    assert_eq!(store.authorize(&you, &by_name).await.unwrap_err().code(), "not_found");
    assert!(store.app_list(&you).await.unwrap().is_empty());
    let taken = NewApp { id: None, name: "blog".parse().unwrap(), stack: "s".into() };
    assert_eq!(store.app_create(&you, taken).await.unwrap_err().code(), "app_name_taken");
    store.collaborator_add(&mine, "you@example.com").await.unwrap();
    assert_eq!(store.collaborator_add(&mine, "you@example.com").await.unwrap_err().code(), "collaborator_exists");
    assert_eq!(store.collaborator_add(&mine, "me@example.com").await.unwrap_err().code(), "collaborator_exists");
    let yours = store.authorize(&you, &by_name).await.unwrap();
    assert_eq!((yours.role(), store.app_list(&you).await.unwrap().len()), (Role::Collaborator, 1));
    assert_eq!(store.app_destroy(&yours).await.unwrap_err().code(), "forbidden");
    assert_eq!(store.app_rename(&yours, &"other".parse().unwrap()).await.unwrap_err().code(), "forbidden");
    assert_eq!(store.collaborator_list(&yours).await.unwrap().len(), 2);
    let (token, secret) = store.authorization_create(&you, NewAuthorization::default()).await.unwrap();
    let with_token = store.authenticate_token(secret.expose(), None).await.unwrap().unwrap();
    let grants = [you.grant(&yours), with_token.grant(&yours)];
    for grant in &grants {
        assert!(store.grant_holds(grant).await.unwrap());
    }
    store.authorization_delete(&you, token.id).await.unwrap();
    assert_eq!([store.grant_holds(&grants[0]).await.unwrap(), store.grant_holds(&grants[1]).await.unwrap()], [true, false]);
    store.collaborator_remove(&yours, "you@example.com").await.unwrap();
    assert!(!store.grant_holds(&grants[0]).await.unwrap());
    assert_eq!(store.authorize(&you, &by_name).await.unwrap_err().code(), "not_found");
    let replay = NewApp { id: Some(mine.app_id()), name: "blog".parse().unwrap(), stack: "debian-13".into() };
    assert_eq!(store.app_create(&me, replay).await.unwrap().id, mine.app_id());
    assert_eq!(store.app_rename(&mine, &"news".parse().unwrap()).await.unwrap().name.as_str(), "news");
    assert_eq!(store.domain_list(&mine).await.unwrap()[0].hostname.as_str(), "news.localhost");
    assert!(store.app_maintenance_set(&mine, true).await.unwrap().maintenance);
    assert_eq!(store.app_stack_set(&mine, "debian-12").await.unwrap().stack, "debian-12");
    assert_eq!(store.app_get(&mine).await.unwrap().user_block, 1);
}

async fn releases(test: TestStore) {
    let store = &test.store;
    let mut changes = store.changes();
    let me = owner(store).await;
    let scope = app(store, &me, "blog").await;
    assert_eq!(changes.recv().await.unwrap(), scope.app_id());
    assert_eq!(store.release_rollback(&scope, ReleaseRef::Current).await.unwrap_err().code(), "not_rollbackable");
    let set = store.config_patch(&scope, &change(&[("A", Some("1")), ("B", Some("ü\n\""))])).await.unwrap();
    assert_eq!(set.release.unwrap().description, "Set A, B config vars");
    assert_eq!(store.config_patch(&scope, &change(&[("A", Some("1")), ("C", None)])).await.unwrap().release, None);
    assert_eq!(store.config_patch(&scope, &change(&[("A", Some("a\0"))])).await.unwrap_err().code(), "config_value_has_nul");
    assert_eq!(store.config_patch(&scope, &change(&[("A", Some(&"x".repeat(1 << 20)))])).await.unwrap_err().code(), "config_too_large");
    let v3 = deploy(store, &scope, slug(&[("web", "a")])).await;
    assert_eq!((v3.version.0, v3.description.as_str(), v3.current), (3, "Deploy 01234567", true));
    let removed = store.config_patch(&scope, &change(&[("A", None)])).await.unwrap();
    assert_eq!(removed.release.unwrap().description, "Remove A config vars");
    let v5 = store.release_rollback(&scope, "v3".parse().unwrap()).await.unwrap();
    assert_eq!((v5.version.0, v5.description.as_str(), v5.slug), (5, "Rollback to v3", v3.slug));
    assert_eq!(store.config_get(&scope).await.unwrap().0.len(), 2);

    let v6 = deploy(store, &scope, slug(&[("web", "b"), ("release", "migrate"), ("worker", "w")])).await;
    assert_eq!((v6.status, v6.current, v6.output.is_some()), (ReleaseStatus::Pending, false, true));
    let desired = store.desired(&store.system(), scope.app_id()).await.unwrap().unwrap();
    assert_eq!((desired.current.unwrap().release.version.0, desired.pending.len()), (5, 1));
    assert_eq!(desired.pending[0].slug.as_ref().unwrap().release_command(), Some("migrate"));
    assert_eq!(store.release_rollback(&scope, ReleaseRef::Id(v6.id)).await.unwrap_err().code(), "not_rollbackable");
    store.release_finish(&scope, v6.id, ReleaseOutcome::Failed).await.unwrap();
    store.release_finish(&scope, v6.id, ReleaseOutcome::Failed).await.unwrap();
    assert_eq!(store.release_finish(&scope, v6.id, ReleaseOutcome::Succeeded).await.unwrap_err().code(), "release_finished");
    assert_eq!(store.release_get(&scope, ReleaseRef::Current).await.unwrap().version.0, 5);
    assert_eq!(store.release_rollback(&scope, ReleaseRef::Id(v6.id)).await.unwrap_err().to_string(), "cannot roll back to v6: it failed");
    let newest = store.release_list(&scope, ReleaseRange::newest(2)).await.unwrap();
    assert_eq!(newest.iter().map(|release| release.version.0).collect::<Vec<_>>(), [6, 5]);
    let middle = store.release_list(&scope, ReleaseRange { from: 2, to: 3, ..ReleaseRange::default() }).await.unwrap();
    assert_eq!(middle.iter().map(|release| release.version.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(store.release_get(&scope, "v99".parse().unwrap()).await.unwrap_err().code(), "not_found");
    assert_eq!(store.release_config(&scope, "v4".parse().unwrap()).await.unwrap().0.len(), 1);
    assert_eq!(store.slug_get(&scope, v3.slug.unwrap()).await.unwrap().image, "sha256:1");
    assert_eq!(store.images_in_use(&store.system()).await.unwrap(), ["sha256:1"]);

    let new = |worker: &str| NewBuild { id: None, source: BuildSource::default(), stack: "s".into(), worker: worker.into() };
    let (dead, alive) = (store.build_create(&scope, new("dead")).await.unwrap(), store.build_create(&scope, new("alive")).await.unwrap());
    let interrupted = store.builds_interrupt(&store.system(), |build| build == alive.id, "interrupted: push again").await.unwrap();
    assert_eq!(interrupted, [(scope.app_id(), dead.id)]);
    assert!(store.build_get(&scope, dead.id).await.unwrap().failure.unwrap().starts_with("interrupted"));
    assert_eq!(store.build_cancel(&scope, alive.id).await.unwrap().status, BuildStatus::Failed);
    assert_eq!(store.build_finish(&scope, alive.id, slug(&[]), None).await.unwrap_err().code(), "build_finished");
    assert_eq!(store.build_list(&scope, 10).await.unwrap().len(), 4);
}

async fn letting_go(test: TestStore) {
    let (store, me) = (&test.store, owner(&test.store).await);
    let scope = app(store, &me, "blog").await;
    let set = async |value: &str| store.config_patch(&scope, &change(&[("A", Some(value))])).await.unwrap();
    set("v2").await;
    deploy(store, &scope, slug(&[("web", "a")])).await;
    set("v4").await;
    deploy(store, &scope, slug(&[("web", "a"), ("worker", "b")])).await;
    let v6 = deploy(store, &scope, slug(&[("web", "a"), ("worker", "b"), ("release", "c")])).await;
    store.release_finish(&scope, v6.id, ReleaseOutcome::Failed).await.unwrap();
    let standing = async || store.releases_standing(&scope).await.unwrap().iter().map(|(version, _)| version.0).collect::<Vec<_>>();
    assert_eq!(standing().await, [1, 2, 3, 4, 5]);

    let versions = |all: &[u32]| all.iter().map(|version| ReleaseVersion(*version)).collect::<Vec<_>>();
    assert_eq!(store.releases_expire(&scope, &versions(&[1, 2, 3, 5, 6, 99])).await.unwrap(), 3, "the current one stays");
    assert_eq!(standing().await, [4, 5]);
    let refused = store.release_rollback(&scope, "v3".parse().unwrap()).await.unwrap_err();
    assert_eq!(refused.to_string(), "cannot roll back to v3: it has expired, and its image is gone");
    assert!(refused.hint().contains("git push --force landfall COMMIT:main"));
    let gone = store.release_config(&scope, "v2".parse().unwrap()).await.unwrap_err();
    assert_eq!((gone.code(), gone.to_string()), ("release_expired", "the config vars of v2 are gone: it can no longer be run".into()));
    for kept in ["v4", "v5", "v6"] {
        assert_eq!(store.release_config(&scope, kept.parse().unwrap()).await.unwrap().0.len(), 1, "{kept}");
    }
    assert_eq!(store.images_in_use(&store.system()).await.unwrap(), ["sha256:1", "sha256:2"]);
    let v7 = store.release_rollback(&scope, "v4".parse().unwrap()).await.unwrap();
    assert_eq!((v7.version.0, store.releases_expire(&scope, &versions(&[4, 5])).await.unwrap()), (7, 2));
    assert_eq!(store.images_in_use(&store.system()).await.unwrap(), ["sha256:1"], "what v7 runs is v3's");
    assert_eq!(store.release_config(&scope, "v7".parse().unwrap()).await.unwrap().0.len(), 1);
    assert_eq!(store.release_list(&scope, ReleaseRange::default()).await.unwrap().len(), 7, "every release stays visible");
    assert_eq!(store.outputs_kept(&scope, 1).await.unwrap(), [v6.id]);

    let new = || NewBuild { id: None, source: BuildSource::default(), stack: "s".into(), worker: "w".into() };
    let mut builds = Vec::new();
    for _ in 0..4 {
        builds.push(store.build_create(&scope, new()).await.unwrap().id);
    }
    for id in &builds[1..3] {
        store.build_fail(&scope, *id, "no").await.unwrap();
    }
    assert_eq!(store.builds_prune(&scope, 1).await.unwrap(), [builds[0], builds[3]], "pending ones and the newest");
    assert_eq!(store.build_list(&scope, 10).await.unwrap().len(), 3 + 2, "releases keep their builds");
    assert_eq!(store.build_get(&scope, builds[1]).await.unwrap_err().code(), "not_found");
    assert_eq!(store.app_ids(&store.system()).await.unwrap(), [scope.app_id()]);
}

async fn crashes(test: TestStore) {
    let (store, me) = (&test.store, owner(&test.store).await);
    let scope = app(store, &me, "blog").await;
    let crash = PastCrash {
        at_unix_ms: 1_700_000_000_000,
        at_uptime: Some(landfall_store::BootTime { boot: "b".into(), uptime_ms: 7 }),
        release: ReleaseVersion(3),
        fingerprint: "standard-1x".into(),
        generation: 0,
        size: DynoSize::default(),
        up_for_ms: None,
    };
    let (web, worker): (DynoName, DynoName) = ("web.1".parse().unwrap(), "worker.2".parse().unwrap());
    let record = |crashes: usize| CrashRecord {
        reported: Some(format!("d-{crashes}")),
        passed: Some("d-7".into()),
        crashes: vec![crash.clone(); crashes],
    };
    for (dyno, crashes) in [(&web, 1), (&worker, 2), (&web, 3)] {
        store.crashes_note(&scope, dyno, &record(crashes)).await.unwrap();
    }
    let mut expected = BTreeMap::from([(web, record(3)), (worker.clone(), record(2))]);
    assert_eq!(store.crashes(&scope).await.unwrap(), expected);
    store.app_destroy(&scope).await.unwrap();
    assert_eq!(store.crashes(&scope).await.unwrap(), expected);
    store.app_purge(&store.system(), scope.app_id()).await.unwrap();
    store.crashes_note(&scope, &worker, &record(1)).await.unwrap();
    expected.clear();
    assert_eq!(store.crashes(&scope).await.unwrap(), expected, "nothing is noted of an app that is gone");
}

async fn first_deploys(test: TestStore) {
    let store = &test.store;
    let me = owner(store).await;
    let scope = app(store, &me, "fresh").await;
    let desired = async || store.desired(&store.system(), scope.app_id()).await.unwrap().unwrap().first_deploy;
    assert_eq!((store.first_deploy(&scope).await.unwrap(), desired().await), (None, None));
    let (v2, v3) = (ReleaseVersion(2), ReleaseVersion(3));
    let begun = FirstDeploy { version: v2, postdeploy: Postdeploy::Begun };
    assert!(store.first_deploy_record(&scope, v2, true).await.unwrap());
    for again in [v2, v3] {
        assert!(!store.first_deploy_record(&scope, again, true).await.unwrap(), "there is one first deploy");
    }
    assert_eq!(store.first_deploy(&scope).await.unwrap(), Some(begun));
    assert!(store.postdeploy_finish(&scope, Postdeploy::Failed { status: 137 }).await.unwrap());
    assert!(!store.postdeploy_finish(&scope, Postdeploy::Succeeded).await.unwrap());
    assert_eq!(desired().await, Some(FirstDeploy { version: v2, postdeploy: Postdeploy::Failed { status: 137 } }), "it ended once");

    let other = app(store, &me, "plain").await;
    let none = FirstDeploy { version: v2, postdeploy: Postdeploy::None };
    assert!(store.first_deploy_record(&other, v2, false).await.unwrap());
    assert!(!store.postdeploy_finish(&other, Postdeploy::Lost).await.unwrap());
    assert_eq!(store.first_deploy(&other).await.unwrap(), Some(none), "what was not begun does not end");
}

async fn formation(test: TestStore) {
    let store = &test.store;
    let me = owner(store).await;
    let scope = app(store, &me, "blog").await;
    let ask = |name: &str, quantity| [FormationChange { process_type: name.parse().unwrap(), quantity: Some(quantity), size: None }];
    assert_eq!(store.formation_update(&scope, &ask("web", QuantityChange::To(1))).await.unwrap_err().code(), "not_found");
    let mut first = slug(&[("web", "a"), ("worker", "w"), ("clock", "c")]);
    first.formation.insert("clock".parse().unwrap(), FormationHint { quantity: Some(2), size: Some(DynoSize::Standard2X) });
    deploy(store, &scope, first).await;
    let shown = async || {
        let list = store.formation_list(&scope).await.unwrap();
        list.iter().map(|f| format!("{}={}:{}", f.entry.process_type, f.entry.quantity, f.entry.size.name())).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown().await, "clock=2:Standard-2X web=1:Standard-1X worker=0:Standard-1X");
    store.formation_update(&scope, &ask("worker", QuantityChange::By(3))).await.unwrap();
    for quantity in [QuantityChange::To(10_000), QuantityChange::By(-4)] {
        let refused = store.formation_update(&scope, &ask("worker", quantity)).await.unwrap_err();
        assert!(refused.to_string().contains("0 to 100"), "{refused}");
    }
    deploy(store, &scope, slug(&[("web", "b"), ("worker", "w"), ("extra", "e")])).await;
    assert_eq!(shown().await, "extra=0:Standard-1X web=1:Standard-1X worker=3:Standard-1X");
    let desired = store.desired(&store.system(), scope.app_id()).await.unwrap().unwrap();
    assert_eq!(desired.formation.iter().find(|entry| entry.process_type.is_web()).unwrap().command, "b");
    assert_eq!(store.release_list(&scope, ReleaseRange::default()).await.unwrap().len(), 3, "scaling makes no release");

    let web1: DynoName = "web.1".parse().unwrap();
    for (target, generation) in
        [(RestartTarget::Dyno(web1.clone()), 1), (RestartTarget::Type(ProcessType::web()), 2), (RestartTarget::App, 3)]
    {
        assert_eq!(store.restart(&scope, &target).await.unwrap(), generation);
        let desired = store.desired(&store.system(), scope.app_id()).await.unwrap().unwrap();
        assert_eq!(desired.restarts.generation(&web1), generation);
    }
    assert_eq!(store.restart(&scope, &RestartTarget::Dyno(web1)).await.unwrap(), 4);
}

async fn domains(test: TestStore) {
    let store = &test.store;
    let me = owner(store).await;
    let you = store.account_create(&me, new_account("you@example.com", "x")).await.unwrap();
    let you = store.principal_for_account(&store.system(), you.id).await.unwrap();
    let (mine, yours) = (app(store, &me, "blog").await, app(store, &you, "shop").await);
    let name = |text: &str| text.parse::<Hostname>().unwrap();
    store.domain_add(&mine, &name("www.example.com")).await.unwrap();
    assert_eq!(store.domain_add(&mine, &name("www.example.com")).await.unwrap_err().code(), "domain_exists");
    for taken in ["www.example.com", "*.example.com"] {
        assert_eq!(store.domain_add(&yours, &name(taken)).await.unwrap_err().code(), "domain_taken", "{taken}");
    }
    store.domain_add(&mine, &name("*.example.com")).await.unwrap();
    for below in ["shop.example.com", "login.eu.example.com", "*.eu.example.com"] {
        assert_eq!(store.domain_add(&yours, &name(below)).await.unwrap_err().code(), "domain_taken", "{below}");
    }
    store.domain_add(&mine, &name("login.eu.example.com")).await.unwrap();
    store.domain_remove(&mine, "login.eu.example.com").await.unwrap();
    store.domain_add(&yours, &name("a.b.example.net")).await.unwrap();
    assert_eq!(store.domain_add(&mine, &name("*.example.net")).await.unwrap_err().code(), "domain_taken");
    assert_eq!(store.domain_add(&yours, &name("blog.localhost")).await.unwrap_err().code(), "domain_reserved");
    assert_eq!(store.domain_remove(&mine, "blog.localhost").await.unwrap_err().code(), "domain_built_in");
    let hosts = store.desired(&store.system(), mine.app_id()).await.unwrap().unwrap().hosts;
    assert_eq!(hosts.iter().map(Hostname::as_str).collect::<Vec<_>>(), ["blog.localhost", "*.example.com", "www.example.com"]);
    store.domain_remove(&mine, "WWW.example.com").await.unwrap();
    assert_eq!(store.domain_get(&mine, "www.example.com").await.unwrap_err().code(), "not_found");

    // The same database under a name of its own: neither its apps' names, nor the API's, nor what lies around them is anybody's.
    let config =
        StoreConfig { platform_domain: "apps.example.org".into(), api_host: Some("paas.apps.example.org".into()), ..test.config.clone() };
    let store = Store::open(config).await.unwrap();
    for reserved in ["*.example.org", "x.apps.example.org", "paas.apps.example.org", "apps.example.org"] {
        let refused = store.domain_add(&mine, &name(reserved)).await.unwrap_err();
        assert_eq!(refused.code(), "domain_reserved", "{reserved}");
    }
    let api = NewApp { id: None, name: "paas".parse().unwrap(), stack: "debian-13".into() };
    assert_eq!(store.app_create(&me, api).await.unwrap_err().code(), "app_name_taken");
    assert_eq!(store.app_rename(&mine, &"paas".parse().unwrap()).await.unwrap_err().code(), "app_name_taken");
    store.close().await;
}

async fn patches_are_gapless(test: TestStore) {
    let me = owner(&test.store).await;
    let scope = app(&test.store, &me, "blog").await;
    let tasks: Vec<_> = (0..1000)
        .map(|number| {
            let (store, scope) = (test.store.clone(), scope.clone());
            tokio::spawn(async move { store.config_patch(&scope, &change(&[(&format!("K{number}"), Some("v"))])).await.unwrap() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().release.is_some());
    }
    let range = ReleaseRange { from: 2, max: 1000, ..ReleaseRange::default() };
    let versions: Vec<u32> = test.store.release_list(&scope, range).await.unwrap().iter().map(|release| release.version.0).collect();
    assert_eq!(versions, (2..=1001).collect::<Vec<_>>());
    assert_eq!(test.store.config_get(&scope).await.unwrap().0.len(), 1000);
}

async fn sealed_and_immutable(test: TestStore) {
    let me = owner(&test.store).await;
    let scope = app(&test.store, &me, "blog").await;
    test.store.config_patch(&scope, &change(&[("A", Some("plain-as-day"))])).await.unwrap();
    let url = test.config.url.clone();
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let sealed: Vec<String> = sqlx::query_scalar("SELECT sealed FROM configs").fetch_all(&pool).await.unwrap();
    assert!(sealed.len() == 2 && sealed.iter().all(|sealed| !sealed.contains("plain-as-day")));
    if let Some(path) = url.strip_prefix("sqlite:") {
        for file in [path.to_owned(), format!("{path}-wal")] {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.windows(12).any(|window| window == b"plain-as-day"), "{file}");
        }
    }
    for forbidden in ["UPDATE releases SET description = 'x'", "UPDATE releases SET status = 'failed'", "UPDATE configs SET sealed = ''"] {
        let refused = sqlx::query(forbidden).execute(&pool).await.unwrap_err().to_string();
        assert!(refused.contains("immutable"), "{refused}");
    }
    pool.close().await;
}

async fn destroy(test: TestStore) {
    let store = &test.store;
    let me = owner(store).await;
    let scope = app(store, &me, "blog").await;
    deploy(store, &scope, slug(&[("web", "a")])).await;
    assert_eq!(store.app_purge(&store.system(), scope.app_id()).await.unwrap_err().code(), "not_destroyed");
    store.app_destroy(&scope).await.unwrap();
    assert_eq!(store.config_patch(&scope, &change(&[("A", Some("1"))])).await.unwrap_err().code(), "not_found");
    assert_eq!(store.app_get(&scope).await.unwrap_err().code(), "not_found");
    let next = app(store, &me, "blog").await;
    assert_eq!(store.app_get(&next).await.unwrap().user_block, 2, "a block was reused while something of its app was left");
    for (scope, expected) in [(&scope, (true, 0)), (&next, (false, 1))] {
        let app = store.desired(&store.system(), scope.app_id()).await.unwrap().unwrap();
        assert_eq!((app.destroyed_at.is_some(), app.hosts.len()), expected);
    }
    store.app_purge(&store.system(), scope.app_id()).await.unwrap();
    store.app_purge(&store.system(), scope.app_id()).await.unwrap();
    assert_eq!(store.desired(&store.system(), scope.app_id()).await.unwrap(), None);
}

async fn one_server(test: TestStore) {
    let first = test.store.claim("process 1 on one").await.unwrap();
    let second = Store::open(test.config.clone()).await.unwrap();
    let refused = second.claim("process 2 on two").await.err().unwrap();
    assert_eq!(refused.code(), "database_in_use");
    assert!(refused.to_string().ends_with("process 1 on one"), "{refused}");
    let waiting = tokio::spawn(async move { second.claim("process 2 on two").await.map(drop) });
    drop(first);
    waiting.await.unwrap().expect("who waits for a server that ends, is next");
}

async fn first_wishes(test: TestStore) {
    let (store, me) = (&test.store, owner(&test.store).await);
    let scope = app(store, &me, "blog").await;
    store.config_patch(&scope, &change(&[("A", Some("mine"))])).await.unwrap();
    let finish = async |wishes: &[(&str, &str)]| {
        let new = NewBuild { id: None, source: BuildSource::default(), stack: "s".into(), worker: "w".into() };
        let build = store.build_create(&scope, new).await.unwrap();
        let wishes = wishes.iter().map(|(key, value)| (key.parse().unwrap(), SecretString::new(*value))).collect();
        (build.id, store.build_finish_with(&scope, build.id, slug(&[("web", "a")]), &wishes, None).await)
    };
    let (build, refused) = finish(&[("B", "b\0")]).await;
    assert_eq!(refused.unwrap_err().code(), "config_value_has_nul");
    assert_eq!(store.build_get(&scope, build).await.unwrap().status, BuildStatus::Pending, "all or nothing");
    assert_eq!(store.release_get(&scope, ReleaseRef::Current).await.unwrap().version.0, 2);
    let (_, release) = finish(&[("A", "theirs"), ("B", "b")]).await.1.unwrap();
    assert_eq!(release.version.0, 4, "one release for the wishes, one for the code");
    let config: Vec<_> = store.config_get(&scope).await.unwrap().iter_exposed().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(config, ["A=mine", "B=b"]);
    assert_eq!(finish(&[("C", "c")]).await.1.unwrap().1.version.0, 5, "only an app's first code has wishes");
}

async fn opening_again(test: TestStore) {
    let me = owner(&test.store).await;
    app(&test.store, &me, "blog").await;
    let instance = test.store.instance();
    test.store.close().await;
    let again = Store::open(test.config.clone()).await.unwrap();
    assert_eq!(again.instance(), instance, "a database is the same one for ever");
    assert_eq!(again.app_list(&me).await.unwrap().len(), 1);
    again.close().await;
    let pool = sqlx::AnyPool::connect(&test.config.url).await.unwrap();
    sqlx::query("INSERT INTO schema_migrations (version, checksum, applied_at) VALUES (999, '', 0)").execute(&pool).await.unwrap();
    assert_eq!(Store::open(test.config.clone()).await.unwrap_err().code(), "database_too_new");
    sqlx::query("DELETE FROM schema_migrations WHERE version = 999").execute(&pool).await.unwrap();
    pool.close().await;
    std::fs::rename(&test.config.key_file, test.dir.path().join("kept")).unwrap();
    assert_eq!(Store::open(test.config.clone()).await.unwrap_err().code(), "key_file");
    assert!(!test.config.key_file.exists(), "a second key was made");
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_alone() {
    let test = TestStore::sqlite().await;
    test.store.close().await;
    let path = test.dir.path().join("landfall.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length / 2].fill(0x5a);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(Store::open(test.config.clone()).await.unwrap_err().code(), "database_corrupt");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_postgres_needs_none_of_ours() {
    let server = std::sync::Arc::new(tokio::task::spawn_blocking(Postgres::start_new).await.unwrap());
    let mut test = TestStore::postgres_on(server.clone()).await;
    let me = owner(&test.store).await;
    app(&test.store, &me, "blog").await;
    tokio::task::block_in_place(|| server.stop());
    test.config.acquire_timeout = std::time::Duration::from_millis(300);
    let down = Store::open(test.config.clone()).await.unwrap_err();
    assert!(down.is_transient(), "{down:?}");
    tokio::task::block_in_place(|| server.start());
    assert_eq!(test.store.app_list(&me).await.unwrap().len(), 1);
    app(&test.store, &me, "shop").await;
}
