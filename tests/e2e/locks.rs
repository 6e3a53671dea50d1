//! Locked: above every grant and role, from the moment that its arrival is proven until it is taken away.

use grantmesh_tests::{LEA, OLAF, Setup, member, play, text};

#[test]
fn a_lock_stands_above_a_grant_until_it_is_removed() {
    play(Setup::default(), async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;

        let lock = ["lock", "create", "--subject", "user:alice", "--reason", "laptop lost", "--wait", "--json"];
        assert_ne!(mesh.control_plane.cli(&LEA, &lock).await?.code, 0, "only operators lock");
        assert_eq!(mesh.refund("acc-42").await?.status, 200);

        let made = mesh.control_plane.cli(&OLAF, &lock).await?.json()?;
        assert_eq!(member(&made, "/arrival/complete")?, true, "{made}");
        let served = mesh.upstream.count();
        for _ in 0..16 {
            let refused = mesh.refund("acc-42").await?;
            assert_eq!(refused.status, 403, "it was proven to have arrived");
            let problem = refused.json()?;
            assert!(member(&problem, "/reasons")?.to_string().contains("laptop lost"), "{problem}");
        }
        assert_eq!(mesh.upstream.count(), served);

        let id = text(&made, "/lock/id")?;
        mesh.control_plane.cli(&OLAF, &["lock", "remove", id, "--wait"]).await?.success()?;
        assert_eq!(mesh.refund("acc-42").await?.status, 200, "the grant is still there");
        Ok(())
    });
}
