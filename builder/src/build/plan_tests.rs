use std::fmt::Write as _;

use super::*;
use crate::build::{Source, Stack};
use crate::config::BuildSettings;
use crate::sandbox::ExportedLayer;
use landfall_lifecycle::report::{ReportedBuildpack, ReportedProcess};
use landfall_model::{AppId, BuildId, ConfigVars, SecretString};

fn cached(path: &str, [launch, build, cache]: [bool; 3]) -> CachedLayer {
    CachedLayer {
        layer: RestoredLayer { path: path.into(), diff_id: format!("sha256:{}", path.rsplit('/').next().unwrap()) },
        metadata: "[metadata]\nv = 1\n".to_owned(),
        launch,
        build,
        cache,
    }
}

fn request(cache: Option<CacheRecord>) -> BuildRequest {
    BuildRequest {
        build: BuildId(uuid::Uuid::nil()),
        app: AppId(uuid::Uuid::nil()),
        app_name: "blog".to_owned(),
        user_block: 7,
        source: Source::Tarball { path: "/x".into(), version: Some("1a2b3c".to_owned()) },
        stack: Stack {
            name: "landfall-13".to_owned(),
            build_image: "sha256:build".to_owned(),
            run_image: "sha256:run".to_owned(),
            distro_name: "debian".to_owned(),
            distro_version: "13".to_owned(),
        },
        config: ConfigVars([("TOKEN".parse().unwrap(), SecretString::new("s3cret"))].into()),
        cache,
    }
}

fn record_of(layers: Vec<CachedLayer>) -> CacheRecord {
    CacheRecord {
        format: CACHE_FORMAT,
        build_image: "sha256:build".to_owned(),
        layers,
        store: [("a/b".to_owned(), "[metadata]\n".to_owned())].into(),
    }
}

fn layer(name: &str, [launch, build, cache]: [bool; 3]) -> ReportedLayer {
    ReportedLayer {
        path: format!("/layers/a_b/{name}"),
        buildpack: "a/b".to_owned(),
        name: name.to_owned(),
        build,
        launch,
        cache,
        metadata: String::new(),
        reuse_previous: false,
    }
}

fn report(layers: Vec<ReportedLayer>) -> Report {
    let process = |kind: &str, line: &str| ReportedProcess {
        kind: kind.to_owned(),
        command: vec!["bash".to_owned(), "-c".to_owned()],
        args: vec![line.to_owned()],
        ..ReportedProcess::default()
    };
    Report {
        group: vec![ReportedBuildpack { id: "a/b".to_owned(), version: "1.0.0".to_owned(), api: "0.10".to_owned(), homepage: None }],
        processes: vec![process("web", "python app.py"), process("worker", "python work.py")],
        layers,
        labels: [("io.buildpacks.stack.id".to_owned(), "forged".to_owned()), ("own".to_owned(), "kept".to_owned())].into(),
        ..Report::default()
    }
}

/// The table of "Layer types" in the CNB specification, all eight rows of it.
#[test]
fn what_is_restored_follows_the_types() {
    let mut shown = String::new();
    for bits in 0..8_u8 {
        let types = [bits & 4 != 0, bits & 2 != 0, bits & 1 != 0];
        let spec = spec(&BuildConfig::default(), &request(Some(record_of(vec![cached("/layers/a_b/l", types)]))), "/src".into());
        let metadata = spec.seed.iter().any(|file| file.path.ends_with("l.toml"));
        writeln!(
            shown,
            "launch={} build={} cache={} -> metadata {metadata}, contents {}",
            types[0],
            types[1],
            types[2],
            !spec.restored.is_empty()
        )
        .unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn another_build_image_restores_only_the_store() {
    let mut record = record_of(vec![cached("/layers/a_b/l", [true, true, true])]);
    record.build_image = "sha256:older".to_owned();
    let spec = spec(&BuildConfig::default(), &request(Some(record)), "/src".into());
    assert!(spec.restored.is_empty());
    assert_eq!(spec.seed.iter().map(|file| file.path.to_str().unwrap()).collect::<Vec<_>>(), ["/layers/a_b/store.toml"]);
}

#[test]
fn a_secret_is_a_tmpfs_file_and_nothing_else() {
    let config = BuildConfig {
        settings: BuildSettings { http_proxy: Some("http://p".into()), ..BuildSettings::default() },
        ..BuildConfig::default()
    };
    let spec = spec(&config, &request(None), "/src".into());
    assert_eq!(
        spec.files.iter().map(|file| (file.path.to_str().unwrap(), &file.content[..])).collect::<Vec<_>>(),
        [("/platform/env/TOKEN", &b"s3cret"[..])]
    );
    assert!(!format!("{:?}{:?}{:?}{:?}", spec.args, spec.env, spec.seed, spec).contains("s3cret"));
    assert_eq!(
        spec.env,
        [("CNB_STACK_ID", "landfall-13"), ("HTTP_PROXY", "http://p"), ("http_proxy", "http://p")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
}

#[test]
fn the_image() {
    let before = record_of(vec![cached("/layers/a_b/venv", [true, true, true]), cached("/layers/a_b/old", [true, false, false])]);
    let mut old = layer("old", [true, false, false]);
    old.reuse_previous = true;
    let report =
        report(vec![layer("venv", [true, true, true]), old, layer("pip", [false, false, true]), layer("tool", [false, true, false])]);
    let plan = export(&request(Some(before)), &report).unwrap();
    insta::assert_debug_snapshot!((&plan.base, &plan.layers, &plan.config, plan.extra.iter().map(|entry| &entry.path).collect::<Vec<_>>()));
}

#[test]
fn a_forged_report_leaves_the_layers_directory_alone() {
    for path in
        ["/etc/x", "/layers/a_b", "/layers/../etc/x", "/layers/a_b/../x", "/layers/a/b/c", "/layers//x", "/layers/config/x", "layers/a/b"]
    {
        let mut forged = layer("x", [true, false, false]);
        forged.path = path.to_owned();
        assert!(matches!(export(&request(None), &report(vec![forged])), Err(BadReport::Place(_))), "{path}");
    }
    let mut lost = layer("x", [true, false, false]);
    lost.reuse_previous = true;
    assert!(matches!(export(&request(None), &report(vec![lost])), Err(BadReport::NoPrevious { .. })));
}

#[test]
fn the_record_round_trips_and_another_format_is_no_cache() {
    let report = report(vec![layer("venv", [true, true, true]), layer("tool", [false, true, false]), layer("pip", [false, false, true])]);
    let made = |diff_id: &str| ExportedLayer { diff_id: diff_id.to_owned(), size_bytes: 1, unchanged: false };
    let exported = Exported { digest: "d".into(), layers: vec![made("sha256:1"), made("sha256:2")], size_bytes: 2, app_bytes: 1 };
    let record = record(&request(None), &report, &exported);
    assert_eq!(record.diff_ids().collect::<Vec<_>>(), ["sha256:1", "sha256:2"]);
    let launch_only = record_of(vec![cached("/layers/a_b/app", [true, false, false])]);
    assert_eq!(launch_only.diff_ids().count(), 1, "the next build may keep it in its image");
    assert_eq!(record.layers[1].layer.path, PathBuf::from("/layers/a_b/pip"));
    assert_eq!(CacheRecord::from_json(&record.to_json()).unwrap(), record);
    assert_eq!(CacheRecord::from_json(&record.to_json().replace("\"format\":1", "\"format\":0")), None);
    assert_eq!(CacheRecord::from_json("{"), None);
}
