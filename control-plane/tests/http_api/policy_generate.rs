//! Services made of descriptions of APIs: what comes out, what is left out with its reason, and what hostile files do.

use std::path::Path;

use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, MethodOptions, ServiceDescriptorProto,
};
use serde_json::json;

use super::cli::{Said, grantmesh};

const PETSTORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http_api/descriptions/petstore.yaml");

async fn openapi(file: &Path, more: &[&str]) -> Said {
    grantmesh(&[&["policy", "generate", "--openapi", file.to_str().unwrap()], more].concat(), &[]).await
}

async fn grpc(set: &[u8], more: &[&str]) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.binpb");
    std::fs::write(&file, set).unwrap();
    grantmesh(&[&["policy", "generate", "--descriptor-set", file.to_str().unwrap()], more].concat(), &[]).await
}

/// What is said about a document of this text.
async fn about(text: &str) -> Said {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api.json");
    std::fs::write(&file, text).unwrap();
    let mut said = openapi(&file, &[]).await;
    said.err = said.err.replace(&folder.path().display().to_string(), "");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openapi_document_becomes_a_service() {
    let said = openapi(Path::new(PETSTORE), &["--host", "petstore.example.com"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    insta::assert_snapshot!(format!("{}\n{}", said.err, said.out));
    let strict = openapi(Path::new(PETSTORE), &["--strict"]).await;
    assert!(strict.code == 1 && strict.out.is_empty() && strict.err.contains("which `--strict` refuses"), "{strict:?}");

    // It is a policy, as it stands.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("service.yaml"), &said.out).unwrap();
    let checked = grantmesh(&["policy", "check", folder.path().to_str().unwrap()], &[]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let named = openapi(Path::new(PETSTORE), &["--service", "pets", "--base-path", "/api"]).await.fine();
    assert!(named.contains("name: pets\n") && named.contains("path: /api/pets/{pet_id}\n"), "{named}");
    // A server of its own is not one when the base path is said.
    assert!(named.contains("/api/images/{image}"), "{named}");
}

/// Bookings, as a compiler of .proto files describes them: `ledger.v1.Bookings` with streams, and what is no service of ours.
fn ledger() -> FileDescriptorSet {
    let method = |name: &str, (from_caller, to_caller): (bool, bool), reads: bool| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(format!(".ledger.v1.{name}Request")),
        output_type: Some(format!(".ledger.v1.{name}Response")),
        client_streaming: from_caller.then_some(true),
        server_streaming: to_caller.then_some(true),
        options: reads.then(|| MethodOptions {
            idempotency_level: Some(IdempotencyLevel::NoSideEffects.into()),
            ..MethodOptions::default()
        }),
    };
    let file = |package: &str, services: Vec<ServiceDescriptorProto>| FileDescriptorProto {
        name: Some(format!("{}.proto", package.replace('.', "/"))),
        package: Some(package.to_owned()),
        service: services,
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    let service = |name: &str, method: Vec<MethodDescriptorProto>| ServiceDescriptorProto {
        name: Some(name.to_owned()),
        method,
        options: None,
    };
    let bookings = vec![
        method("CreateBooking", (false, false), false),
        method("GetBooking", (false, false), true),
        method("WatchBookings", (false, true), true),
        method("ImportBookings", (true, false), false),
        method("Reconcile", (true, true), false),
        method("GetBooking", (false, false), true),
    ];
    FileDescriptorSet {
        file: vec![
            file("google.protobuf", Vec::new()),
            file(
                "ledger.v1",
                vec![service("Bookings", bookings), service("Exports", vec![method("Export", (false, true), false)])],
            ),
            file("ledger.v2", vec![service("Bookings", vec![method("CreateBooking", (false, false), false)])]),
            file("bad", vec![service("Sla/shes", vec![method("../x\n", (false, false), false)])]),
        ],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_become_a_service() {
    let set = ledger().encode_to_vec();
    let said = grpc(&set, &["--host", "ledger.example.com"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    insta::assert_snapshot!(format!("{}\n{}", said.err, said.out));
    let one = grpc(&set, &["--grpc-service", "ledger.v1.Exports", "--service", "exports"]).await.fine();
    assert!(one.contains("name: exports\n") && one.matches("grpc:").count() == 1, "{one}");
    let none = grpc(&set, &["--grpc-service", "ledger.v1.Export"]).await;
    assert!(none.code == 1 && none.err.contains("there is no service `ledger.v1.Export`"), "{none:?}");
    let cut = grpc(&set[..set.len() - 3], &[]).await;
    assert!(cut.code == 1 && cut.err.contains("it is no FileDescriptorSet"), "{cut:?}");
    assert!(grpc(b"", &[]).await.err.contains("it has no services"));
    let large = grpc(&vec![0; 2 * 1024 * 1024 + 1], &[]).await;
    assert!(large.code == 1 && large.err.contains("more than 2097152 bytes"), "{large:?}");
    // Names that are all alike get numbers, and no more than a service may have.
    let mut many = ledger();
    let service = many.file.iter_mut().flat_map(|file| &mut file.service).next().unwrap();
    let method = service.method[0].clone();
    let named = |at: usize| prost_types::MethodDescriptorProto { name: Some(format!("M{at}")), ..method.clone() };
    service.method = (0..5_000).map(named).collect();
    let said = grpc(&many.encode_to_vec(), &[]).await;
    assert!(said.code == 1 && said.err.contains("more than 5000 services and methods"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_description_is_refused_with_its_reason() {
    let with =
        |paths: serde_json::Value| json!({ "openapi": "3.0.3", "info": { "title": "x" }, "paths": paths }).to_string();
    for (text, expected) in [
        ("{", "EOF while parsing"),
        ("a: [1", "line"),
        ("[]", "it does not say `openapi: 3...`"),
        ("swagger: '2.0'", "convert it to OpenAPI 3 first"),
        ("openapi: '4.0'", "it is of OpenAPI `4.0`"),
        ("openapi: 3.1.0", "it has no `paths`"),
        (&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), ""),
        (&format!("{{\"a\":{}", "[".repeat(100_000)), "recursion limit"),
        (
            &json!({ "openapi": "3.0.0", "paths": {}, "servers": [{ "url": "/a" }, { "url": "/b" }] }).to_string(),
            "--base-path",
        ),
    ] {
        let said = about(text).await;
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{expected}: {}", said.err);
        assert!(said.err.contains(expected) && said.err.len() < 2_000, "{expected}: {}", said.err);
    }
    // Aliases that multiply end at the reader's budget.
    let mut laughs = "openapi: 3.1.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for at in 1..12 {
        laughs += &format!("a{at}: &a{at} [{}]\n", vec![format!("*a{}", at - 1); 9].join(", "));
    }
    assert_eq!(about(&laughs).await.code, 1);

    let many: serde_json::Map<_, _> = (0..5_001).map(|at| (format!("/p{at}"), json!({ "get": {} }))).collect();
    assert!(about(&with(many.into())).await.err.contains("more than 5000 operations"));

    // Where the paths begin must be certain.
    let at = |server: serde_json::Value| {
        json!({ "openapi": "3.0.0", "paths": { "/a": { "get": {} } }, "servers": [server] }).to_string()
    };
    let versions =
        |more: serde_json::Value| json!({ "url": "https://x.example/{version}/api", "variables": { "version": more } });
    for (server, expected) in [
        (json!({ "url": "v1" }), "relative to where the document is served from"),
        (json!({}), "has no `url`"),
        (json!({ "url": "https://x.example/{version}" }), "the variable `version` of its server"),
        (versions(json!({})), "has no `default`"),
        (versions(json!({ "default": "v1", "enum": ["v1", "v2"] })), "at different paths, as `version` says"),
        (json!({ "url": format!("/{}", "a".repeat(3_000)) }), "more than 2048 bytes"),
    ] {
        let said = about(&at(server)).await;
        assert!(
            said.code == 1 && said.err.contains(expected) && said.err.contains("--base-path"),
            "{expected}: {said:?}"
        );
    }
    for fine in [json!({ "default": "v1" }), json!({ "default": "v1", "enum": ["v1"] })] {
        assert!(about(&at(versions(fine))).await.fine().contains("path: /v1/api/a\n"));
    }

    // What is wrong with one operation leaves the others.
    let said = about(&with(json!({
        "/fine": { "get": {}, "x-more": 1, "parameters": [] },
        "x-paths": {},
        "relative": { "get": {} },
        "/no-item": 7,
        "/no-operation": { "get": 7 },
        "/a%2fb": { "get": {} },
        "/q?x=1": { "get": {} },
        "/lost": { "$ref": "#/nowhere" },
    })))
    .await;
    assert_eq!(
        (said.code, said.out.matches("method:").count(), said.err.matches("left out: ").count()),
        (0, 1, 6),
        "{said:?}"
    );
}
