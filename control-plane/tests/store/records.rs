//! Streams of decision records.

use grantmesh_control_plane::app::{AppError, Appended, FilterIdentity, RecordsRefused, StreamSums, VmSeen};
use grantmesh_shared::id::{DecisionId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::records::{
    DecisionEvent, DecisionWord, Event, MAX_BATCH, Record, RecordsRequest, StreamState,
};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::VmIdentity;
use serde_json::value::{RawValue, to_raw_value};

use crate::db::Db;
use crate::world::{World, aud, code};

pub(crate) fn identity() -> FilterIdentity {
    FilterIdentity { node: "node-1".to_owned(), services: vec!["payments".to_owned(), "ledger".to_owned()] }
}

pub(crate) fn vm(number: u8) -> VmIdentity {
    let vm = VmId::new(1, [number; 10]);
    VmIdentity { vm, node: "node-1".to_owned(), services: vec!["payments".to_owned()] }
}

/// A refused call of nobody.
pub(crate) fn deny(id: DecisionId) -> DecisionEvent<'static> {
    let event = DecisionEvent::new(id, DecisionWord::Deny, "payments", ("GET", "/"));
    DecisionEvent { reasons: vec!["unmatched".into()], ..event }
}

/// A filter's end of a stream.
pub(crate) struct Stream {
    vm: VmIdentity,
    records: Vec<Box<RawValue>>,
}

impl Stream {
    pub(crate) fn new(number: u8) -> Self {
        Self { vm: vm(number), records: Vec::new() }
    }

    pub(crate) fn push(&mut self, event: Event<'static>) {
        self.push_at(event, Timestamp::from_millis(7));
    }

    pub(crate) fn push_at(&mut self, event: Event<'static>, at: Timestamp) {
        let prev = self.records.last().map(|last| Sha256Hash::of(last.get().as_bytes())).unwrap_or_default();
        let record = Record { seq: self.records.len() as u64, prev, at, event };
        self.records.push(to_raw_value(&record).unwrap());
    }

    fn decide(&mut self, count: u8) {
        for number in 0..count {
            let id = DecisionId::new(self.records.len() as u64, [number; 10]);
            self.push(Event::Decision(Box::new(deny(id))));
        }
    }

    /// What was pushed last, alone.
    pub(crate) fn last(&self) -> RecordsRequest {
        self.batch(self.records.len() - 1..)
    }

    pub(crate) fn batch(
        &self,
        part: impl std::slice::SliceIndex<[Box<RawValue>], Output = [Box<RawValue>]>,
    ) -> RecordsRequest {
        let records = self.records[part].to_vec();
        RecordsRequest {
            v: PROTOCOL_VERSION,
            filter: self.vm.clone(),
            nonce: "0".repeat(32),
            stream: StreamState::default(),
            records,
        }
    }
}

pub(crate) async fn a_stream_has_no_holes_and_no_forks(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let head = app.head().await.unwrap();
    let mut stream = Stream::new(1);
    stream.decide(6);
    stream.push(Event::Gap { dropped: 3 });
    stream.decide(2);
    let append = async |batch: RecordsRequest| app.append_records(&identity(), &batch).await;
    let refused = |result| match result {
        Err(AppError::Records(refused)) => refused,
        other => panic!("this must be refused: {other:?}"),
    };
    assert_eq!(refused(append(stream.batch(1..2)).await), RecordsRefused::Hole { next_seq: 0, got: 1 });
    let next = async |batch: RecordsRequest| append(batch).await.unwrap().next_seq;
    assert_eq!(next(stream.batch(0..3)).await, 3);
    // Sent again, alone and with new ones behind: kept once, acknowledged each time.
    assert_eq!(append(stream.batch(0..3)).await.unwrap(), Appended { next_seq: 3, new: 0 });
    assert_eq!(append(stream.batch(1..5)).await.unwrap(), Appended { next_seq: 5, new: 2 });
    assert_eq!(next(stream.batch(0..0)).await, 5);
    assert_eq!(refused(append(stream.batch(6..8)).await), RecordsRefused::Hole { next_seq: 5, got: 6 });
    // A batch with a wrong end is kept in no part.
    let mut torn = stream.batch(5..8);
    torn.records.remove(1);
    assert_eq!(refused(append(torn).await), RecordsRefused::Hole { next_seq: 6, got: 7 });
    let mut forked = stream.batch(5..6);
    forked.records[0] = RawValue::from_string(
        forked.records[0].get().replacen("\"prev\":\"", "\"prev\":\"00", 1).replacen("00", "", 0),
    )
    .unwrap();
    assert!(matches!(refused(append(forked).await), RecordsRefused::Malformed { index: 0, .. }));
    let mut other = Stream::new(1);
    other.decide(4);
    other.push(Event::Gap { dropped: 1 });
    other.decide(1);
    assert_eq!(refused(append(other.batch(4..5)).await), RecordsRefused::WrongPrev { seq: 4 });
    assert_eq!(refused(append(other.batch(5..6)).await), RecordsRefused::WrongPrev { seq: 5 });
    assert_eq!(next(stream.batch(5..)).await, 9);
    let mut many = stream.batch(0..1);
    many.records = vec![many.records[0].clone(); MAX_BATCH + 1];
    assert!(matches!(refused(append(many).await), RecordsRefused::TooMany { .. }));

    let entries = world.entries().await;
    let kinds: Vec<_> =
        entries.iter().skip(head.log_size as usize).map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "decision",
            "decision",
            "decision",
            "decision",
            "decision",
            "decision",
            "decisions.dropped",
            "decision",
            "decision"
        ]
    );
    // The record stands in its entry byte for byte.
    let page = app.audit_entries(&aud(), head.log_size, 9).await.unwrap();
    for (entry, record) in page.entries.iter().zip(&stream.records) {
        assert!(entry.entry.contains(record.get()), "{}", entry.entry);
    }
    assert_eq!(app.head().await.unwrap().position, head.position, "records are no change that filters follow");
}

pub(crate) async fn a_secret_in_a_path_is_in_no_entry_and_the_stream_goes_on(db: Db) {
    let world = World::new(db).await;
    let secret = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
    let mut stream = Stream::new(1);
    let paths = ["/plain".to_owned(), format!("/v1/{secret}"), format!("/v1/x;password={secret}"), "/last".to_owned()];
    for (number, path) in paths.iter().enumerate() {
        let id = DecisionId::new(number as u64, [9; 10]);
        let event = DecisionEvent { path: path.clone().into(), ..deny(id) };
        stream.push(Event::Decision(Box::new(event)));
    }
    let hashes: Vec<Sha256Hash> = stream.records.iter().map(|record| Sha256Hash::of(record.get().as_bytes())).collect();
    for number in 0..paths.len() {
        world.app.append_records(&identity(), &stream.batch(number..=number)).await.unwrap();
    }
    let entries = world.entries().await;
    let kept: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "decision").map(|entry| &entry["data"]).collect();
    let paths: Vec<_> = kept.iter().map(|data| data["record"]["event"]["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/plain", "/v1/[redacted]", "/v1/x;password=[redacted]", "/last"]);
    // What a filter hashed can still be told from what is kept: the next record names it.
    let told: Vec<Option<String>> = kept.iter().map(|data| data["redacted"].as_str().map(str::to_owned)).collect();
    assert_eq!(told, [None, Some(hashes[1].to_string()), Some(hashes[2].to_string()), None]);
    assert_eq!(kept[2]["record"]["prev"], hashes[1].to_string());
}

pub(crate) async fn a_stream_belongs_to_its_node(db: Db) {
    let world = World::new(db).await;
    let mut stream = Stream::new(1);
    stream.decide(2);
    world.app.append_records(&identity(), &stream.batch(0..1)).await.unwrap();
    let thief = FilterIdentity { node: "node-2".to_owned(), ..identity() };
    assert_eq!(code(world.app.append_records(&thief, &stream.batch(1..2)).await), "records_not_yours");
    stream.vm.node = "node-2".to_owned();
    assert_eq!(code(world.app.append_records(&thief, &stream.batch(1..2)).await), "records_not_yours");
    stream.vm = vm(1);
    stream.vm.services = vec!["payroll".to_owned()];
    assert_eq!(code(world.app.append_records(&identity(), &stream.batch(1..2)).await), "filter_not_covered");
    stream.vm = vm(1);
    assert_eq!(world.app.append_records(&identity(), &stream.batch(1..2)).await.unwrap().next_seq, 2);
}

pub(crate) async fn what_goes_with_a_filter_is_told_and_taken_back_when_it_comes_after_all(db: Db) {
    let world = World::new(db).await;
    let app = &world.app;
    let (mut stream, began) = (Stream::new(1), world.now());
    for number in [1, 2, 3] {
        app.vm_seen(&identity(), &vm(number), None).await.unwrap();
    }
    stream.decide(5);
    stream.push(Event::Gap { dropped: 3 });
    let mut first = stream.batch(0..2);
    first.stream.made = 8;
    app.append_records(&identity(), &first).await.unwrap();
    // The first VM says more with its heartbeats, the second never sends anything, the third has nothing to tell.
    world.advance("10s");
    let seen = |number: u8, made| VmSeen { vm: vm(number).vm, at: world.now(), made };
    app.vms_seen_at(&[seen(1, 9), seen(2, 4), seen(3, 0)]).await.unwrap();
    app.vms_seen_at(&[VmSeen { at: began, ..seen(1, 1) }]).await.unwrap();
    assert_eq!(app.declare_losses(world.now()).await.unwrap(), 0, "none has been silent so long");
    world.advance("1s");
    assert_eq!(app.declare_losses(world.now()).await.unwrap(), 2);
    assert_eq!(app.declare_losses(world.now()).await.unwrap(), 0, "told once");
    let lost = async || -> Vec<(String, u64)> {
        let entries = world.entries().await.into_iter();
        let told = entries
            .filter(|entry| ["decisions.lost", "decisions.recovered"].contains(&entry["kind"].as_str().unwrap()));
        told.map(|entry| (entry["kind"].as_str().unwrap().to_owned(), entry["data"]["count"].as_u64().unwrap()))
            .collect()
    };
    assert_eq!(lost().await, [("decisions.lost".to_owned(), 7), ("decisions.lost".to_owned(), 4)]);
    let sums = StreamSums { streams: 2, made: 13, received: 2, dropped: 0, lost: 11 };
    assert_eq!(app.stream_sums().await.unwrap(), sums);

    // It was only cut off: what comes after all is no longer lost, and what comes beyond is made.
    let mut rest = stream.batch(1..6);
    rest.stream.made = 9;
    assert_eq!(app.append_records(&identity(), &rest).await.unwrap(), Appended { next_seq: 6, new: 4 });
    assert_eq!(lost().await.last().unwrap(), &("decisions.recovered".to_owned(), 6));
    let sums = StreamSums { streams: 2, made: 13, received: 5, dropped: 3, lost: 5 };
    assert_eq!(app.stream_sums().await.unwrap(), sums);

    // A VM that is forgotten takes nothing with it untold.
    app.vms_seen_at(&[seen(3, 2)]).await.unwrap();
    app.vms_gone(&[vm(3).vm], Timestamp::from_millis(i64::MAX)).await.unwrap();
    assert_eq!(lost().await.last().unwrap(), &("decisions.lost".to_owned(), 2));
    assert_eq!(app.streams().await.unwrap().len(), 2, "those of VMs that are kept");
}
