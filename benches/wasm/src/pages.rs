//! What a page of a snapshot takes of a worker: its signature is verified, its items are understood, compared and put into
//! the table that they build. Every page of a table of a million grants, as the filter takes them in.

use ed25519_dalek::{Signer as _, SigningKey};
use grantmesh_filter::clock::Mono;
use grantmesh_filter::question::{Answer, PinnedKey, Question, Topic};
use grantmesh_filter::random::Random;
use grantmesh_filter::sync::{Progress, Sync};
use grantmesh_shared::id::{GrantId, RequestId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::{PolicyFile, compile, parse};
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::sync::{Change, Freshness, Position, SyncAnswer, SyncKind, SyncRequest, VmIdentity};
use grantmesh_shared::wire::table::{Body, Item};
use grantmesh_shared::wire::{MAX_PAGE_BYTES, PROTOCOL_VERSION, TableHash};
use serde_json::value::RawValue;

use super::{NOON, cpu_nanos};

/// The grants, of a tenth as many people.
const GRANTS: u64 = 1_000_000;

/// The grants of a step.
const STEP: u64 = 50_000;

/// So many services, and so many grants, come into force at one go: some 800 KiB.
const SERVICES: usize = 300;
const AGAIN: u64 = 1_800;

/// So often.
const ROUNDS: usize = 21;

/// The first pages let V8 optimise, and are told apart.
const FIRST: usize = 300;

fn item(number: u64) -> Item {
    let random = |of: u64| of.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let bytes = |of: u64| {
        let [a, b, c, d, e, f, g, h] = random(of);
        [a, b, c, d, e, f, g, h, a ^ d, b ^ c]
    };
    let begins = NOON.unsigned_abs() + number * 7;
    // As the control plane makes them: what is random of both is the same.
    let (id, request) = (GrantId::new(begins, bytes(number)), RequestId::new(begins - 90_000, bytes(number)));
    let body = format!(
        r#"{{"grant":{{"id":"{id}","request":"{request}","holder":{{"user":{{"issuer":"https://id.example.com","subject":"user-{}"}}}},"service":"payments","action":"refund.create","resource":"account/acc-{number}","rule":"refund-by-support","starts_at":{},"expires_at":{}}}}}"#,
        number / 10,
        begins + 3,
        begins + 900_003
    );
    Item { key: format!("grant/{id}"), body: RawValue::from_string(body).expect("it is JSON") }
}

fn pages() -> Vec<(u64, u64)> {
    let (mut pages, mut begin, mut bytes) = (Vec::new(), 0, 0);
    for number in 0..GRANTS {
        // As the control plane cuts them; every item is about as long as this one.
        let more = 475 + number.checked_ilog10().unwrap_or(0) as usize;
        if bytes + more > MAX_PAGE_BYTES {
            pages.push((begin, number));
            (begin, bytes) = (number, 0);
        }
        bytes += more;
    }
    pages.push((begin, GRANTS));
    pages
}

/// A service as the policy of the decisions has it.
fn service(number: usize) -> Item {
    let file =
        PolicyFile { name: "policy.yaml".to_owned(), text: super::POLICY.replace("shop", &format!("shop-{number}")) };
    let policy = compile(&parse(&[file]).expect("it is read")).expect("it compiles");
    let service = policy.services.into_iter().next().expect("a service");
    Body::Service(service).into_item().expect("it has a JSON form")
}

struct Plane {
    key: SigningKey,
    hash: TableHash,
    revision: u64,
}

impl Plane {
    fn answer(&self, question: &Question, change: Change) -> (Vec<u8>, String) {
        let asked: SyncRequest = serde_json::from_slice(&question.body).expect("a question");
        let answer = SyncAnswer {
            v: PROTOCOL_VERSION,
            kind: SyncKind::Sync,
            nonce: asked.nonce,
            position: Position { epoch: 1, revision: self.revision },
            table_hash: self.hash,
            server_time: Timestamp::from_millis(NOON),
            freshness: Freshness::default(),
            change,
        };
        let body = serde_json::to_vec(&answer).expect("an answer");
        let key = KeyId::of(self.key.verifying_key().as_bytes());
        let signature = Signature { key, bytes: self.key.sign(&signed_bytes(&body)).to_bytes() };
        (body, signature.to_string())
    }
}

struct Filter {
    sync: Sync,
    random: Random,
    millis: u64,
}

impl Filter {
    fn poll(&mut self) -> Question {
        loop {
            self.millis += 1;
            let due = self.sync.due(Mono::from_millis(self.millis), &mut self.random);
            if let Some(poll) = due.into_iter().find(|question| question.topic == Topic::Sync) {
                return poll;
            }
        }
    }

    /// Loads everything; how long each page took until the next was asked for.
    fn load(&mut self, plane: &Plane) -> Vec<u64> {
        let pages = pages();
        let mut poll = self.poll();
        let mut took = Vec::with_capacity(pages.len());
        for (index, (begin, end)) in pages.iter().enumerate() {
            let puts = (*begin..*end).map(item).collect();
            let last = index + 1 == pages.len();
            let index = u32::try_from(index).expect("a number of a page");
            let (body, signature) = plane.answer(&poll, Change::Snapshot { index, last, puts });
            let begun = cpu_nanos();
            let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
            let mono = Mono::from_millis(self.millis);
            let progress = self.sync.answered(Topic::Sync, &answer, mono, &mut self.random);
            let due = self.sync.due(mono, &mut self.random);
            took.push(cpu_nanos() - begun);
            assert_eq!(progress, Ok(if last { Progress::Snapshot } else { Progress::Page }));
            poll = due.into_iter().find(|question| question.topic == Topic::Sync).unwrap_or(poll);
        }
        took
    }

    /// Takes a step in pages, and another one that takes it back; how long each page took.
    fn steps(&mut self, plane: &mut Plane) -> Vec<u64> {
        let mut took = Vec::new();
        let grants = 0..STEP;
        let hash = grants.clone().fold(TableHash::default(), |hash, number| hash.plus(item(GRANTS + number).hash()));
        for is_put in [true, false] {
            plane.hash = if is_put { plane.hash.plus(hash) } else { plane.hash.minus(hash) };
            plane.revision += 1;
            let all: Vec<Item> = grants.clone().map(|number| item(GRANTS + number)).collect();
            // As many of them as the control plane would put into a page.
            let pages: Vec<&[Item]> = all.chunks(if is_put { 8 } else { 17 }).collect();
            for (at, page) in pages.iter().enumerate() {
                let (puts, removes) = match is_put {
                    true => (page.to_vec(), Vec::new()),
                    false => (Vec::new(), page.iter().map(|item| item.key.clone()).collect()),
                };
                took.push(self.page(plane, (at, pages.len()), puts, removes, false));
            }
        }
        took
    }

    /// One page of so many; how long it took.
    fn page(
        &mut self,
        plane: &Plane,
        (at, all): (usize, usize),
        puts: Vec<Item>,
        removes: Vec<String>,
        with_next: bool,
    ) -> u64 {
        let poll = self.poll();
        let (index, more) = (u32::try_from(at).expect("a number of a page"), at + 1 < all);
        let (body, signature) = plane.answer(&poll, Change::Delta { puts, removes, index, more, with_next, cut: 1 });
        let begun = cpu_nanos();
        let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
        let mono = Mono::from_millis(self.millis);
        let progress = self.sync.answered(Topic::Sync, &answer, mono, &mut self.random);
        let took = cpu_nanos() - begun;
        assert_eq!(progress, Ok(if more { Progress::Page } else { Progress::Delta }));
        took
    }

    /// Takes everything that comes into force at one go, again and again; how long the pages took, and those with which the
    /// others are in force.
    fn policies(&mut self, plane: &mut Plane, all: &[Item]) -> (Vec<u64>, Vec<u64>) {
        let (mut took, mut last, mut known) = (Vec::new(), Vec::new(), TableHash::default());
        for round in 0..ROUNDS {
            let items: Vec<Item> = all.iter().map(|item| changed(item, round)).collect();
            let hash = items.iter().fold(TableHash::default(), |hash, item| hash.plus(item.hash()));
            plane.hash = plane.hash.minus(known).plus(hash);
            (plane.revision, known) = (plane.revision + 1, hash);
            let mut pages: Vec<Vec<Item>> = vec![Vec::new()];
            for item in items {
                let bytes = |page: &Vec<Item>| page.iter().map(|item| item.body.get().len()).sum::<usize>();
                if pages.last().is_some_and(|page| bytes(page) + item.body.get().len() > 4 * MAX_PAGE_BYTES) {
                    pages.push(Vec::new());
                }
                pages.last_mut().expect("a page").push(item);
            }
            let count = pages.len();
            for (at, page) in pages.into_iter().enumerate() {
                let more = at + 1 < count;
                let one = self.page(plane, (at, count), page, Vec::new(), more);
                if more { &mut took } else { &mut last }.push(one);
            }
            // As with its ticks: what was there before is freed.
            for _ in 0..100 {
                self.millis += 1;
                let _due = self.sync.due(Mono::from_millis(self.millis), &mut self.random);
            }
        }
        (took, last)
    }
}

/// The same item, with another end if it is a grant and in other bytes if it is not.
fn changed(item: &Item, round: usize) -> Item {
    let body = match item.body.get().rsplit_once("\"expires_at\":") {
        Some((begin, _)) => format!("{begin}\"expires_at\":{}}}}}", NOON.unsigned_abs() * 2 + round as u64 * 1_000),
        None => item.body.get().replacen('{', &format!("{{{}", " ".repeat(round)), 1),
    };
    Item { key: item.key.clone(), body: RawValue::from_string(body).expect("it is JSON") }
}

fn said(name: &str, mut took: Vec<u64>) {
    took.sort_unstable();
    let at = |part: usize| took.get((took.len().saturating_sub(1)) * part / 10_000).copied().unwrap_or(0) / 1_000;
    println!(
        "{name:<44} {:>6} µs   (of 100 99 at most {} µs, of 10,000 all but one {} µs, all {} µs)",
        at(5_000),
        at(9_900),
        at(9_999),
        at(10_000)
    );
}

/// Loads a table, then another one beside it, which frees the first, and at last takes steps.
pub(super) fn run() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let pinned = PinnedKey::new(key.verifying_key().as_bytes()).expect("a key");
    let hash = (0..GRANTS).fold(TableHash::default(), |hash, number| hash.plus(item(number).hash()));
    let mut plane = Plane { key, hash, revision: 7 };
    let identity =
        VmIdentity { vm: VmId::new(0, [0; 10]), node: "n".to_owned(), services: vec!["payments".to_owned()] };
    let mut filter = Filter { sync: Sync::new(identity, vec![pinned]), random: Random::new([9; 32]), millis: 0 };
    let (body, signature) = {
        let question = filter.poll();
        plane.answer(&question, Change::Unchanged)
    };
    let begun = cpu_nanos();
    for _ in 0..1_000 {
        let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
        assert!(grantmesh_filter::question::verified(&answer, filter.sync.keys()).is_ok());
    }
    println!("{:<44} {:>6} µs", "a signature", (cpu_nanos() - begun) / 1_000_000);
    filter.sync.doubt(Mono::from_millis(filter.millis));
    let mut took = filter.load(&plane);
    let before = wasm_pages();
    println!("{:<44} {:>6} MiB, {} pages", "memory with a million grants", before / 16, took.len());
    let later = took.split_off(FIRST);
    said("the first pages of a snapshot", took);
    said("a page of a snapshot", later);
    // Another configuration asks for everything anew.
    filter.sync.retarget(
        vec!["payments".to_owned(), "others".to_owned()],
        filter.sync.keys().to_vec(),
        Mono::from_millis(filter.millis),
    );
    let took = filter.load(&plane);
    println!("{:<44} {:>6} MiB", "memory with another million beside it", wasm_pages() / 16);
    said("a page of a snapshot beside a table", took);
    let mut parts = Vec::new();
    for _ in 0..100 {
        filter.millis += 1;
        let begun = cpu_nanos();
        let _due = filter.sync.due(Mono::from_millis(filter.millis), &mut filter.random);
        parts.push(cpu_nanos() - begun);
    }
    said("a part of a table that is freed", parts);
    said("a page of a step", filter.steps(&mut plane));
    let services = (0..SERVICES).map(service).collect::<Vec<_>>();
    let (took, last) = filter.policies(&mut plane, &services);
    said("a page of 300 services", took);
    said("the last page of them", last);
    let grants = (GRANTS..GRANTS + AGAIN).map(item).collect::<Vec<_>>();
    let (took, last) = filter.policies(&mut plane, &grants);
    said("a page of 1,800 grants at one go", took);
    said("the last page of them", last);
}

#[cfg(target_arch = "wasm32")]
fn wasm_pages() -> usize {
    core::arch::wasm32::memory_size::<0>()
}

#[cfg(not(target_arch = "wasm32"))]
const fn wasm_pages() -> usize {
    0
}
