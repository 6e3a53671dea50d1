//! Which setting wins, and what is told of bad ones.

use super::*;

fn dev() -> ServeArgs {
    ServeArgs { dev: Some(true), data_dir: Some("data".into()), ..ServeArgs::default() }
}

fn faults(args: ServeArgs) -> String {
    args.resolve().unwrap_err().to_string()
}

#[test]
fn flags_beat_the_file_and_the_file_beats_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("grantmesh.yaml");
    std::fs::write(&path, "listen: 127.0.0.1:9999\nfresh-low: 2m\nlog: debug\noperators: [group:platform]\n").unwrap();
    let stated = ServeArgs { log: Some("warn".to_owned()), config: Some(path.clone()), ..dev() };
    let settings = stated.resolve().unwrap();
    assert_eq!(settings.listen.port(), 9999);
    assert_eq!(
        (settings.log.as_str(), settings.freshness.low_ms, settings.freshness.critical_ms),
        ("warn", 120_000, 5_000)
    );
    assert_eq!(settings.database, "sqlite:data/grantmesh.db");
    assert_eq!(settings.operators, [Subject::parse("group:platform", DEV_ISSUER).unwrap()]);

    std::fs::write(&path, "lisen: 127.0.0.1:9999\n").unwrap();
    let told = faults(ServeArgs { config: Some(path), ..dev() });
    assert!(told.contains("lisen"), "{told}");
}

#[test]
fn every_fault_is_told_at_once() {
    let told = faults(ServeArgs {
        listen: Some("0.0.0.0:1".parse().unwrap()),
        database: Some("mysql://x".to_owned()),
        operators: vec!["olaf".to_owned(), "workload:spiffe://mesh/a".to_owned()],
        public_url: Some("grantmesh".to_owned()),
        fresh_low: Some(Span::from_secs(7_200)),
        data_dir: None,
        ..dev()
    });
    for part in
        ["loopback only", "`sqlite:PATH`", "`olaf`", "is a workload", "`grantmesh` is none", "freshness", "--data-dir"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn somebodys_tokens_must_be_believed() {
    let told = faults(ServeArgs { dev: None, ..dev() });
    assert!(told.contains("whose tokens"), "{told}");
    let both = faults(ServeArgs { issuer: Some("https://id.example".to_owned()), ..dev() });
    assert!(both.contains("has its own issuer"), "{both}");
    let oidc = |jwks: &str| ServeArgs {
        dev: None,
        issuer: Some("https://id.example".to_owned()),
        audience: Some("grantmesh".to_owned()),
        jwks: Some(jwks.to_owned()),
        ..dev()
    };
    assert!(faults(oidc("http://id.example/jwks")).contains("without TLS"));
    for jwks in ["https://id.example/jwks", "http://127.0.0.1:1/jwks", "http://[::1]:1/jwks", "jwks.json"] {
        assert!(oidc(jwks).resolve().is_ok(), "{jwks}");
    }
}

#[test]
fn no_secret_is_shown() {
    let database = Some("postgres://grantmesh:hunter2@db/grantmesh?password=hunter2".to_owned());
    let shown = ServeArgs { database, ..dev() }.resolve().unwrap().to_string();
    assert!(shown.contains("postgres://grantmesh:***@db/grantmesh") && !shown.contains("hunter2"), "{shown}");
}
