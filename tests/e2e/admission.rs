//! Let through: exactly the holder, exactly the action, exactly the resource, and without asking anybody.

use std::time::{Duration, Instant};

use grantmesh_tests::{ALICE, BOB, LEA, MALLORY, Setup, play};
use reqwest::Method;

#[test]
fn a_grant_lets_exactly_its_holder_do_exactly_its_action() {
    play(Setup::default(), async |mesh| {
        assert_eq!(mesh.refund("acc-42").await?.status, 403);
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        let through = mesh.upstream.count();
        assert!(through >= 16, "the upstream saw them: {through}");

        let refunds = "/v1/accounts/acc-42/refunds";
        for (person, method, path) in [
            (&BOB, Method::POST, refunds),
            (&LEA, Method::POST, refunds),
            (&MALLORY, Method::POST, refunds),
            (&ALICE, Method::POST, "/v1/accounts/acc-43/refunds"),
            (&ALICE, Method::POST, "/v1/accounts/acc-42"),
            (&ALICE, Method::POST, "/v1/accounts/acc-42/refunds/r-1"),
            (&ALICE, Method::DELETE, refunds),
            (&ALICE, Method::PUT, refunds),
            (&MALLORY, Method::GET, refunds),
        ] {
            let reply = mesh.call(person, method.clone(), path).await?;
            assert_eq!(reply.status, 403, "{} {method} {path}: {}", person.name, reply.text());
        }
        assert_eq!(mesh.upstream.count(), through, "none of them got through");

        let read = mesh.call(&BOB, Method::GET, refunds).await?;
        assert_eq!(read.status, 200, "reading is a standing role of support");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_call_is_decided_without_a_word_to_the_control_plane() {
    play(Setup { standard_refunds: true, ..Setup::default() }, async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        let caller = mesh.caller(&ALICE).await?;

        // Frozen, the control plane answers nothing; the tightest bound of freshness is 5 s, and a heartbeat comes every 2.5 s.
        let frozen = Instant::now();
        mesh.control_plane.freeze()?;
        for round in 0..10 {
            let reply = caller.reconnected()?.send(Method::POST, "/v1/accounts/acc-42/refunds", None).await?;
            assert_eq!(reply.status, 200, "round {round}: {}", reply.text());
            let reply = caller.send(Method::POST, "/v1/accounts/acc-43/refunds", None).await?;
            assert_eq!(reply.status, 403, "round {round}: {}", reply.text());
        }
        assert!(
            frozen.elapsed() < Duration::from_millis(2_400),
            "this machine is too slow to say: {:?}",
            frozen.elapsed()
        );
        mesh.control_plane.thaw()
    });
}
