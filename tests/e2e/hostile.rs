//! Input that no honest caller sends: never let through, never a lost VM, never a silent upstream.

use std::net::SocketAddr;

use anyhow::Result;
use grantmesh_tests::{ALICE, BOB, Setup, play, raw};
use reqwest::Method;

/// A request as bytes; `head` is everything between the first line and the empty one.
fn request(line: &[u8], head: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [line, b" HTTP/1.1\r\nconnection: close\r\n"].concat();
    for header in head {
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[test]
fn hostile_input_is_refused_and_harms_nothing() {
    // 192 kB: so that the filter itself meets headers of 100 kB, which Envoy would refuse by default.
    play(Setup { max_request_headers_kb: 192, ..Setup::default() }, async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        let served = mesh.upstream.count();

        let token = format!("authorization: Bearer {}", mesh.control_plane.token(&ALICE).await?);
        let token = token.as_bytes();
        let host: &[u8] = b"host: payments.example.com";
        let mut hostile = Vec::new();
        // Read loosely, each of these paths is the one that Alice has a grant for, or one that she may read.
        for line in [
            &b"POST /v1/accounts/acc-42%2frefunds"[..],
            b"POST /v1/accounts/acc-42%2Frefunds",
            b"POST /v1/accounts/acc-42%5crefunds",
            b"POST /v1//accounts/acc-42/refunds",
            b"POST //v1/accounts/acc-42/refunds",
            b"POST /v1/accounts/acc-42/refunds/",
            b"POST /v1/accounts/acc-42/./refunds",
            b"POST /v1/accounts/acc-43/../acc-42/refunds",
            b"POST /v1/accounts/acc-43/%2e%2e/acc-42/refunds",
            b"POST /v1/accounts/acc-42;x=1/refunds",
            b"POST /v1/accounts/acc-42\\refunds",
            b"POST /v1/accounts/acc-42%00/refunds",
            b"POST /v1/accounts/acc-%34%32/refunds",
            b"POST /v1/accounts/acc-%zz/refunds",
            b"POST /v1/accounts/acc-%2542/refunds",
            b"POST /v1/accounts/acc-\xc3\xa4/refunds",
            b"POST /v1/accounts/acc-\xff/refunds",
            b"POST v1/accounts/acc-42/refunds",
            b"POST *",
            b"POST ",
            b"post /v1/accounts/acc-42/refunds",
            b"P\xffST /v1/accounts/acc-42/refunds",
            b"BREW /v1/accounts/acc-42/refunds",
            b"CONNECT payments.example.com:443",
            b"OPTIONS /v1/accounts/acc-42/refunds",
            b"TRACE /v1/accounts/acc-42/refunds",
            b"GET /V1/accounts/acc-42",
            b"GET /v1/accounts/acc-42#fragment",
        ] {
            hostile.push(request(line, &[host, token]));
        }

        let refunds = b"POST /v1/accounts/acc-42/refunds";
        let long = [&b"x-long: "[..], &[b'a'; 100_000]].concat();
        let many: Vec<Vec<u8>> = (0..90).map(|at| format!("x-many-{at}: {}", "b".repeat(1_100)).into_bytes()).collect();
        // Without a token: whatever else they say, nobody is authenticated.
        for head in [
            vec![host],
            vec![host, b"authorization: Bearer"],
            vec![host, b"authorization: Bearer a.b.c"],
            vec![host, b"authorization: Bearer \xff\xfe"],
            vec![host, b"x-user: alice", b"x-forwarded-user: alice", b"x-jwt-payload: {\"sub\":\"alice\"}"],
            vec![host, b"x-bytes: \xff\xfe\x80"],
            vec![host, &long],
            [vec![host], many.iter().map(Vec::as_slice).collect()].concat(),
        ] {
            hostile.push(request(refunds, &head));
        }
        // With a token, but not to be read in one way only.
        for head in [
            vec![host, b"host: elsewhere.example.com", token],
            vec![host, token, b"x-http-method-override: DELETE"],
            vec![host, token, b"content-length: 1", b"transfer-encoding: chunked"],
            vec![host, token, b"content-length: 1", b"content-length: 2"],
            vec![host, token, b"x-nul: a\0b"],
            vec![token],
        ] {
            hostile.push(request(refunds, &head));
        }
        // A second token must not be the one that the upstream believes.
        let bob = format!("authorization: Bearer {}", mesh.control_plane.token(&BOB).await?);
        hostile.push(request(refunds, &[host, bob.as_bytes(), token]));
        let envoy = mesh.envoy()?.address();
        let refused: Vec<_> = hostile.into_iter().map(|request| tokio::spawn(is_refused(envoy, request))).collect();
        for one in refused {
            one.await??;
        }
        assert_eq!(mesh.upstream.count(), served, "{:?}", mesh.upstream.served().last());

        // Strange, but harmless: what is decided is what arrives.
        for (line, head) in [
            (&b"POST http://payments.example.com/v1/accounts/acc-42/refunds"[..], vec![host, token]),
            (refunds, vec![host, token, b"x-bytes: \xff\xfe\x80"]),
            (refunds, vec![host, token, &long]),
        ] {
            let reply = raw::exchange(mesh.envoy()?.address(), &request(line, &head)).await?;
            assert_eq!(reply.status(), Some(200), "{}", reply.text());
        }
        for call in mesh.upstream.served().iter().skip(served) {
            assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", "/v1/accounts/acc-42/refunds"));
        }

        mesh.until_refund_is("acc-42", 200).await?;
        assert_eq!(mesh.call(&BOB, Method::GET, "/v1/accounts/acc-42").await?.status, 200);
        mesh.until_all_follow().await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

/// Checks that a request is refused by whoever meets it first.
async fn is_refused(envoy: SocketAddr, request: Vec<u8>) -> Result<()> {
    let reply = raw::exchange(envoy, &request).await?;
    let shown = String::from_utf8_lossy(request.get(..120).unwrap_or(&request)).into_owned();
    assert!(reply.status().is_some_and(|status| (400..500).contains(&status)), "{shown:?}: {}", reply.text());
    Ok(())
}
