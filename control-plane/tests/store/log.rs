//! The audit log in the database: right when it is left alone, and what is wrong is named when it is not.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use grantmesh_control_plane::app::verify_database;
use grantmesh_control_plane::audit::{LogVerifier, leaf_index};
use sha2::Sha256;

use crate::db::Db;
use crate::world::{World, ann, aud, code, lee};

pub(crate) async fn the_root_is_that_of_another_implementation(db: Db) {
    let world = World::new(db).await;
    for _ in 0..9 {
        world.granted().await;
    }
    let page = world.app.audit_entries(&aud(), 0, 1_000).await.unwrap();
    let mut oracle = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for entry in &page.entries {
        oracle.push(entry.entry.clone().into_bytes());
    }
    let note = world.app.checkpoint(&aud()).await.unwrap();
    let checkpoint = LogVerifier::parse(world.app.settings().log_key.vkey()).unwrap().verify(note.as_bytes()).unwrap();
    assert_eq!((checkpoint.size, page.size), (oracle.len(), oracle.len()));
    assert_eq!(checkpoint.root.0, <[u8; 32]>::from(*oracle.root().as_bytes()));
    let report = verify_database(&world.db.url).await.unwrap();
    assert_eq!((report.fault, report.verified, report.root), (None, checkpoint.size, checkpoint.root));
    // A part of it, and only for those who may read it.
    let part = world.app.audit_entries(&aud(), 5, 3).await.unwrap();
    assert_eq!(part.entries, page.entries[5..8]);
    assert!(world.app.audit_entries(&aud(), 10_000, 3).await.unwrap().entries.is_empty());
    for reader in [ann(), lee()] {
        assert_eq!(code(world.app.audit_entries(&reader, 0, 1).await), "not_auditor");
        assert_eq!(code(world.app.checkpoint(&reader).await), "not_auditor");
    }
}

pub(crate) async fn a_changed_row_is_found_and_named(db: Db) {
    let world = World::new(db).await;
    for _ in 0..4 {
        world.granted().await;
    }
    let db = &world.db;
    let size = world.app.head().await.unwrap().log_size;
    let entry = async |seq: u64| world.app.audit_entries(&aud(), seq, 1).await.unwrap().entries[0].clone();
    let zeros = db.bytes(&[0; 32]);
    let five = entry(5).await;
    let changed = five.entry.replace("ann", "eve").replace("lee", "eve");
    assert_ne!(changed, five.entry);
    let (changed, kept) = (db.bytes(changed.as_bytes()), db.bytes(five.entry.as_bytes()));
    let leaf = (leaf_index(5), db.bytes(&five.leaf_hash.0));
    // The node over the entries 4 and 5 stands right behind the leaf of 5.
    let node = leaf.0 + 1;
    let hash = "SELECT hash FROM log_hashes WHERE idx";
    let last = db.bytes(entry(size - 1).await.entry.as_bytes());
    let cases = [
        (
            format!("UPDATE log_entries SET entry = {changed} WHERE seq = 5"),
            format!("UPDATE log_entries SET entry = {kept} WHERE seq = 5"),
            "entry 5 does not have its stored leaf hash",
        ),
        (
            format!("UPDATE log_hashes SET hash = {zeros} WHERE idx = {}", leaf.0),
            format!("UPDATE log_hashes SET hash = {} WHERE idx = {}", leaf.1, leaf.0),
            "entry 5 does not have its stored leaf hash",
        ),
        (
            format!("UPDATE log_hashes SET hash = ({hash} = 0) WHERE idx = {node}"),
            String::new(),
            "entry 5: the node hash at",
        ),
        (
            format!("UPDATE log_entries SET seq = 100000 WHERE seq = {}", size - 1),
            format!("UPDATE log_entries SET seq = {} WHERE seq = 100000", size - 1),
            "is missing",
        ),
        (
            format!("INSERT INTO log_entries (seq, entry) VALUES ({size}, {last})"),
            format!("DELETE FROM log_entries WHERE seq = {size}"),
            "is not an entry of this place",
        ),
        (format!("UPDATE head SET log_root = {zeros}"), String::new(), "the head row's root is"),
    ];
    for (harm, heal, named) in cases {
        let before = saved(&world, node).await;
        assert_eq!(db.tamper(&harm).await, 1, "{harm}");
        let fault = world.app.verify_log().await.unwrap().fault.unwrap_or_default();
        assert!(fault.contains(named), "{harm}\nfound: {fault}");
        let heal = if heal.is_empty() { before(&harm) } else { heal };
        assert_eq!(db.tamper(&heal).await, 1, "{heal}");
        assert_eq!(world.app.verify_log().await.unwrap().fault, None, "{heal}");
    }
    // Nothing is signed over a root that the stored tree does not give, and nothing is appended to it either.
    db.tamper(&format!("UPDATE head SET log_root = {zeros}")).await;
    assert_eq!(code(world.app.checkpoint(&aud()).await), "internal");
    assert_eq!(code(world.app.file_request(&ann(), crate::world::refund("acc-1")).await), "internal");
}

/// What puts the node hash, or the root of the head row, back as it is now.
async fn saved(world: &World, node: u64) -> impl Fn(&str) -> String + use<> {
    let root = world.db.bytes(&world.app.head().await.unwrap().log_root.0);
    let (four, five) = {
        let entries = world.app.audit_entries(&aud(), 4, 2).await.unwrap().entries;
        (entries[0].leaf_hash, entries[1].leaf_hash)
    };
    use sha2::Digest;
    let hash: [u8; 32] = Sha256::new().chain_update([1]).chain_update(four.0).chain_update(five.0).finalize().into();
    let hash = world.db.bytes(&hash);
    move |harm: &str| {
        if harm.contains("log_hashes") {
            format!("UPDATE log_hashes SET hash = {hash} WHERE idx = {node}")
        } else {
            format!("UPDATE head SET log_root = {root}")
        }
    }
}

pub(crate) async fn a_row_that_cannot_be_is_an_error_with_its_place(db: Db) {
    let world = World::new(db).await;
    let request = world.asked().await;
    world.db.tamper("UPDATE requests SET resource = 'account/acc-43'").await;
    let error = world.app.request(&ann(), &request.id).await.unwrap_err().to_string();
    for part in ["`requests`", "`digest`", request.id.as_str()] {
        assert!(error.contains(part), "{error}");
    }
    world.db.tamper("UPDATE requests SET resource = 'account/acc-42', requester_groups = 'support'").await;
    let error = world.app.request(&ann(), &request.id).await.unwrap_err().to_string();
    assert!(error.contains("`requester_groups`"), "{error}");
}
