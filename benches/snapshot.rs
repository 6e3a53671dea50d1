//! What a table of many grants takes and what is done with it costs, as a filter does it page by page:
//! `cargo bench --package grantmesh-benches --bench snapshot`. It counts what is allocated.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up ends")]
#![expect(clippy::print_stdout, reason = "what it measures is for the terminal")]
#![expect(unsafe_code, reason = "an allocator that counts is one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use grantmesh_shared::engine::Table;
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::wire::table::{Item, ItemKey, hash_of_grant};
use serde_json::value::RawValue;

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is the system's allocator's; counting touches nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Items of one page, about 4 KiB.
const PAGE: u64 = 8;

/// Where the ids begin: in 2025.
const BEGIN: u64 = 1_760_000_000_000;

fn random(number: u64) -> [u8; 10] {
    let mixed = u128::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let [_, _, _, bytes @ .., _, _, _] = mixed.to_be_bytes();
    bytes
}

fn id(number: u64) -> GrantId {
    GrantId::new(BEGIN + number * 1_000, random(number))
}

/// A grant of one of so many people.
fn item(number: u64, people: u64) -> Item {
    let (id, request) = (id(number), RequestId::new(BEGIN + number * 1_000 - 90_000, random(number)));
    let (subject, starts) = (number % people, BEGIN + number * 1_000 + 3);
    let body = format!(
        r#"{{"grant":{{"id":"{id}","request":"{request}","holder":{{"user":{{"issuer":"https://id.example","subject":"user-{subject}"}}}},"service":"payments","action":"refund.create","resource":"account/acc-{number}","rule":"refund-by-support","starts_at":{starts},"expires_at":{}}}}}"#,
        starts + 900_000
    );
    Item { key: format!("grant/{id}"), body: RawValue::from_string(body).expect("it is JSON") }
}

fn put(table: &mut Table, item: &Item) {
    let (hash, parsed) = (item.hash(), item.parse().expect("it is understood"));
    assert!(parsed.put_grant_into(table, item, hash).is_none());
}

/// The middle, the 99th of a hundred and the longest.
fn said(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |part: usize| all.get((all.len() - 1) * part / 100).copied().unwrap_or_default();
    format!("{:?} ({:?} of a hundred 99, {:?} at most)", at(50), at(99), at(100))
}

unsafe extern "C" {
    fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
}

/// What this thread has had of a processor so far: whatever else the machine does is not in it.
fn processor_time() -> Duration {
    const OF_THE_THREAD: i32 = 3;
    let mut time = [0; 2];
    // SAFETY: the system writes two numbers, for which there is room.
    let status = unsafe { clock_gettime(OF_THE_THREAD, &raw mut time) };
    assert_eq!(status, 0, "there is no clock of threads");
    let [seconds, nanos] = time.map(|part| u64::try_from(part).unwrap_or(0));
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

fn timed(what: impl FnOnce()) -> Duration {
    let begun = processor_time();
    what();
    processor_time().saturating_sub(begun)
}

fn measure(count: u64, people: u64) {
    let before = HELD.load(Ordering::Relaxed);
    let mut table = Table::default();
    let pages = (0..count.div_ceil(PAGE)).map(|page| {
        let items: Vec<Item> = (page * PAGE..count.min((page + 1) * PAGE)).map(|number| item(number, people)).collect();
        timed(|| items.iter().for_each(|item| put(&mut table, item)))
    });
    println!("{count} grants of {people} people");
    println!("  a page of {PAGE}:     {}", said(pages.collect()));
    let bytes = HELD.load(Ordering::Relaxed) - before;
    println!("  memory:           {} bytes a grant", u64::try_from(bytes).unwrap_or(0) / count);
    let some = (0..1_000).map(|step| step * 7_919 % count);
    let ends = some.clone().map(|number| {
        let key = ItemKey::parse(&format!("grant/{}", id(number))).expect("a key");
        timed(|| {
            assert!(hash_of_grant(&table, &id(number)).is_some());
            key.remove_from(&mut table);
        })
    });
    println!("  one ends:         {}", said(ends.collect()));
    let begins = some.map(|number| {
        let item = item(number, people);
        timed(|| put(&mut table, &item))
    });
    println!("  one begins:       {}", said(begins.collect()));
    let mut parts = Vec::new();
    loop {
        let mut left = false;
        parts.push(timed(|| left = table.free_some()));
        if !left {
            break;
        }
    }
    println!("  {:>5} parts freed: {}", parts.len(), said(parts));
}

fn main() {
    for (count, people) in [(100_000, 10_000), (1_000_000, 1_000_000), (1_000_000, 100_000), (1_000_000, 1)] {
        measure(count, people);
    }
}
