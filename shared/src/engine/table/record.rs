//! A grant as the table keeps it: 20 to 40 bytes in a row. Those of one holder and kind (service, action, rule, issuer and the
//! beginning of the resource, see [`Kind`]) stand in one bunch, which says once what they have in common; times count from
//! the millisecond of the grant's id, and that from the first of its kind. Read for every decision that looks at it.

use super::kinds::{Kind, Kinds};
use crate::engine::bind::{Bind, Digest};
use crate::engine::condition::Condition;
use crate::engine::grant::{Grant, GrantHolder, Uses};
use crate::id::GrantId;

/// Flags of a bunch.
const USER: u8 = 1;
const WORKLOAD: u8 = 2;

/// Flags of a grant.
const USES: u8 = 1;
const EXHAUSTED: u8 = 2;
const TERMS: u8 = 4;
const NOTE: u8 = 8;
const BREAK_GLASS: u8 = 16;
/// What is random of its request's id is the same as of its own: the control plane makes both from one.
const TWIN: u8 = 32;
/// How long it lasts is told in seconds.
const SECONDS: u8 = 64;

/// What only some grants have, kept beside their records.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) id: GrantId,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) bound: Option<Box<(Bind, Digest)>>,
    pub(crate) reveals: Vec<Box<str>>,
}

/// What the grants of a bunch have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'r> {
    /// The number of their kind.
    pub(super) number: u32,
    /// Nothing only where there is no grant.
    pub(super) kind: Option<&'r Kind>,
    /// Texts are compared as the bytes that they are, far more often than they are read.
    pub(super) user: Option<&'r [u8]>,
    pub(super) workload: Option<&'r [u8]>,
}

/// A record, read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'r> {
    pub(super) head: Head<'r>,
    pub(super) id: u128,
    /// The millisecond of its request's id, and what of that is random.
    request: (i64, [u8; 10]),
    pub(super) starts_at: i64,
    pub(super) expires_at: i64,
    pub(super) uses: Option<Uses>,
    pub(super) break_glass: bool,
    /// The place of its terms.
    pub(super) terms: Option<u32>,
    pub(super) note: Option<&'r [u8; 32]>,
    /// What of the resource is not in its kind.
    pub(super) rest: &'r [u8],
}

/// The millisecond in an id.
pub(super) fn millis(id: u128) -> i64 {
    i64::try_from(id >> 80).unwrap_or(0)
}

/// The bits of an id by its millisecond and what of it is random.
fn id_of(millis: i64, random: [u8; 10]) -> u128 {
    let millis = u128::from(millis.cast_unsigned() & 0xffff_ffff_ffff);
    random.iter().fold(millis, |bits, byte| (bits << 8) | u128::from(*byte))
}

#[inline(never)]
fn put_number(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        let [low, ..] = number.to_le_bytes();
        into.push(low | 0x80);
        number >>= 7;
    }
    let [low, ..] = number.to_le_bytes();
    into.push(low);
}

/// Small numbers of either sign as small ones without.
const fn unsigned(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn signed(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg()
}

#[inline(never)]
fn put_text(into: &mut Vec<u8>, text: &str) {
    put_number(into, u64::try_from(text.len()).unwrap_or(u64::MAX));
    into.extend_from_slice(text.as_bytes());
}

/// Some bytes with their length before them.
fn with_length(body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(body.len().saturating_add(3));
    put_number(&mut whole, u64::try_from(body.len()).unwrap_or(u64::MAX));
    whole.extend_from_slice(body);
    whole
}

const fn flag(is: bool, flag: u8) -> u8 {
    if is { flag } else { 0 }
}

/// What a bunch for a grant begins with, of the place and kind: two bunches that begin alike are one.
pub(super) fn head(grant: &Grant, place: u32, kind: u32) -> Vec<u8> {
    let (user, workload) = match &grant.holder {
        GrantHolder::User(user) => (Some(&*user.subject), None),
        GrantHolder::Workload(workload) => (None, Some(workload.as_str())),
        GrantHolder::Both(user, workload) => (Some(&*user.subject), Some(workload.as_str())),
    };
    let [a, b, c, _] = place.to_le_bytes();
    let mut head = vec![a, b, c, flag(user.is_some(), USER) | flag(workload.is_some(), WORKLOAD)];
    put_number(&mut head, u64::from(kind));
    user.into_iter().chain(workload).for_each(|text| put_text(&mut head, text));
    head
}

/// What a bunch has of a grant, with its length before it: one of a kind whose first began then.
#[inline(never)]
pub(super) fn written(
    grant: &Grant,
    (begins, rest): (i64, &str),
    terms: Option<u32>,
    note: Option<&[u8; 32]>,
) -> Vec<u8> {
    let (id, request) = (grant.id.bits(), grant.request.bits());
    let (starts, ends) = (grant.starts_at.millis(), grant.expires_at.millis());
    let ([_, _, _, _, _, _, own @ ..], [_, _, _, _, _, _, random @ ..]) = (id.to_be_bytes(), request.to_be_bytes());
    let lasts = ends.wrapping_sub(starts);
    let (is_twin, is_seconds) = (own == random, lasts.wrapping_rem(1_000) == 0);
    let mut body = Vec::with_capacity(128);
    body.push(
        flag(grant.uses.is_some(), USES)
            | flag(grant.uses.is_some_and(|uses| uses.exhausted), EXHAUSTED)
            | flag(terms.is_some(), TERMS)
            | flag(note.is_some(), NOTE)
            | flag(grant.break_glass, BREAK_GLASS)
            | flag(is_twin, TWIN)
            | flag(is_seconds, SECONDS),
    );
    body.extend_from_slice(&own);
    put_number(&mut body, unsigned(millis(id).wrapping_sub(begins)));
    put_number(&mut body, unsigned(millis(id).wrapping_sub(millis(request))));
    if !is_twin {
        body.extend_from_slice(&random);
    }
    put_number(&mut body, unsigned(starts.wrapping_sub(millis(id))));
    put_number(&mut body, unsigned(if is_seconds { lasts.wrapping_div(1_000) } else { lasts }));
    grant.uses.into_iter().for_each(|uses| put_number(&mut body, u64::from(uses.allowed)));
    terms.into_iter().for_each(|place| put_number(&mut body, u64::from(place)));
    note.into_iter().for_each(|note| body.extend_from_slice(note));
    body.extend_from_slice(rest.as_bytes());
    with_length(&body)
}

struct Reader<'r>(&'r [u8]);

impl<'r> Reader<'r> {
    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    #[inline(never)]
    fn number(&mut self) -> Option<u64> {
        // Most numbers are small.
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let (mut number, mut shift) = (u64::from(first & 0x7f), 7_u32);
        loop {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
            shift = shift.wrapping_add(7);
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<&'r [u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(first)
    }

    #[inline(never)]
    fn text(&mut self) -> Option<&'r [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }
}

/// Things with their lengths before them, one after the other: where each begins, and what it is.
struct Parts<'r> {
    all: usize,
    left: &'r [u8],
}

impl<'r> Parts<'r> {
    const fn of(bytes: &'r [u8]) -> Self {
        Self { all: bytes.len(), left: bytes }
    }
}

impl<'r> Iterator for Parts<'r> {
    type Item = (usize, &'r [u8]);

    #[inline]
    fn next(&mut self) -> Option<(usize, &'r [u8])> {
        let begin = self.all.wrapping_sub(self.left.len());
        let mut reader = Reader(self.left);
        let length = usize::try_from(reader.number()?).ok()?;
        let (part, left) = reader.0.split_at_checked(length)?;
        self.left = left;
        Some((begin, part))
    }
}

/// A bunch without its length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bunch<'r>(&'r [u8]);

/// The bunches of a row.
pub(super) fn bunches(row: &[u8]) -> impl Iterator<Item = Bunch<'_>> {
    Parts::of(row).map(|(_, bytes)| Bunch(bytes))
}

impl<'r> Bunch<'r> {
    /// Where its grants are placed.
    #[inline]
    pub(super) fn place(self) -> u32 {
        self.0.first_chunk().map_or(u32::MAX, |[a, b, c]| u32::from_le_bytes([*a, *b, *c, 0]))
    }

    /// The bunch as it stands in a row.
    pub(super) fn whole(self) -> Vec<u8> {
        with_length(self.0)
    }

    /// What its grants have in common, and those.
    #[inline(never)]
    pub(super) fn read(self, kinds: &'r Kinds) -> Option<(Head<'r>, Grants<'r>)> {
        let mut reader = Reader(self.0.get(3..)?);
        let flags = reader.byte()?;
        let number = u32::try_from(reader.number()?).ok()?;
        let user = if flags & USER == 0 { None } else { Some(reader.text()?) };
        let workload = if flags & WORKLOAD == 0 { None } else { Some(reader.text()?) };
        Some((Head { number, kind: kinds.get(number), user, workload }, Grants(reader.0)))
    }
}

/// The grants of a bunch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grants<'r>(&'r [u8]);

impl<'r> Grants<'r> {
    /// How many there are.
    pub(super) fn count(self) -> usize {
        Parts::of(self.0).count()
    }

    /// Those whose resource may end so.
    pub(super) fn ending(self, head: Head<'r>, rest: &[u8]) -> impl Iterator<Item = Record<'r>> {
        Parts::of(self.0)
            .filter(move |(_, grant)| grant.ends_with(rest))
            .filter_map(move |(_, grant)| read(head, grant))
    }

    /// The one of an id.
    pub(super) fn find(self, head: Head<'r>, id: u128) -> Option<Record<'r>> {
        Some(self.find_part(head, id)?.1)
    }

    /// Where the one of an id begins, and what it is.
    fn find_part(self, head: Head<'r>, id: u128) -> Option<(usize, Record<'r>)> {
        let [_, _, _, _, _, _, random @ ..] = id.to_be_bytes();
        let mut alike = Parts::of(self.0).filter(|(_, grant)| grant.get(1..11) == Some(&random));
        alike.find_map(|(at, grant)| Some((at, read(head, grant).filter(|record| record.id == id)?)))
    }
}

/// A row with one more grant; it and what its bunch begins with are from [`written`] and [`head`].
#[inline(never)]
pub(super) fn with(row: &[u8], head: &[u8], grant: &[u8]) -> Box<[u8]> {
    let found = Parts::of(row).find(|(_, bunch)| bunch.starts_with(head));
    let (begin, bunch) = found.unwrap_or((row.len(), head));
    put_back(row, begin, found.is_some(), &[bunch, grant].concat())
}

/// A row without a grant; nothing if it is not there.
#[inline(never)]
pub(super) fn without(row: &[u8], kinds: &Kinds, place: u32, id: u128) -> Option<Box<[u8]>> {
    for (begin, bunch) in Parts::of(row).filter(|(_, bunch)| Bunch(bunch).place() == place) {
        let Some((head, grants)) = Bunch(bunch).read(kinds) else { continue };
        let Some((at, _)) = grants.find_part(head, id) else { continue };
        let (before, after) = grants.0.split_at_checked(at)?;
        let mut after = Parts::of(after);
        after.next();
        let common = bunch.get(..bunch.len().checked_sub(grants.0.len())?)?;
        let is_last = before.is_empty() && after.left.is_empty();
        let left = if is_last { Vec::new() } else { [common, before, after.left].concat() };
        return Some(put_back(row, begin, true, &left));
    }
    None
}

/// A row with another bunch at a place, instead of the one there or before what is there; with none if that is empty.
fn put_back(row: &[u8], begin: usize, instead: bool, bunch: &[u8]) -> Box<[u8]> {
    let (before, rest) = row.split_at_checked(begin).unwrap_or((row, &[]));
    let mut parts = Parts::of(rest);
    if instead {
        parts.next();
    }
    let bunch = if bunch.is_empty() { Vec::new() } else { with_length(bunch) };
    [before, &bunch, parts.left].concat().into_boxed_slice()
}

#[inline(never)]
fn read<'r>(head: Head<'r>, grant: &'r [u8]) -> Option<Record<'r>> {
    let mut reader = Reader(grant);
    let flags = reader.byte()?;
    let own = *reader.array()?;
    let begins = head.kind.map_or(0, |kind| kind.begins).wrapping_add(signed(reader.number()?));
    let before = signed(reader.number()?);
    let random = if flags & TWIN == 0 { *reader.array()? } else { own };
    let starts_at = begins.wrapping_add(signed(reader.number()?));
    let lasts = signed(reader.number()?);
    let lasts = if flags & SECONDS == 0 { lasts } else { lasts.wrapping_mul(1_000) };
    let uses = if flags & USES == 0 {
        None
    } else {
        Some(Uses { allowed: u32::try_from(reader.number()?).ok()?, exhausted: flags & EXHAUSTED != 0 })
    };
    let terms = if flags & TERMS == 0 { None } else { Some(u32::try_from(reader.number()?).ok()?) };
    let note = if flags & NOTE == 0 { None } else { Some(reader.array()?) };
    Some(Record {
        head,
        id: id_of(begins, own),
        request: (begins.wrapping_sub(before), random),
        starts_at,
        expires_at: starts_at.wrapping_add(lasts),
        uses,
        break_glass: flags & BREAK_GLASS != 0,
        terms,
        note,
        rest: reader.0,
    })
}

impl Record<'_> {
    /// What has ended before it began.
    pub(super) const NONE: Self = Self {
        head: Head { number: u32::MAX, kind: None, user: None, workload: None },
        id: 0,
        request: (0, [0; 10]),
        starts_at: i64::MAX,
        expires_at: i64::MIN,
        uses: None,
        break_glass: false,
        terms: None,
        note: None,
        rest: &[],
    };

    /// The id of its request.
    pub(super) fn request(&self) -> u128 {
        let (millis, random) = self.request;
        id_of(millis, random)
    }

    /// Whether the resource is this one, with what its kind has of it.
    #[inline]
    pub(super) fn is_for(&self, resource: &str) -> bool {
        let beginning = self.head.kind.map_or("", |kind| &kind.beginning);
        resource.as_bytes().strip_prefix(beginning.as_bytes()) == Some(self.rest)
    }
}

/// The text that some bytes of a record are: they were written as one.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
