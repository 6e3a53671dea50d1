//! A grant as the table keeps it: 50 to 70 bytes in a row. What many grants have in common (service, action, rule, issuer,
//! the beginning of the resource) is kept once, as a [`Kind`]; times count from the millisecond of the grant's id.
//! Written once, and read for every decision that looks at it.

use super::kinds::Kind;
use crate::engine::bind::{Bind, Digest};
use crate::engine::condition::Condition;
use crate::engine::grant::{Grant, GrantHolder, Uses};
use crate::id::GrantId;

const DEAD: u8 = 1;
const USER: u8 = 2;
const WORKLOAD: u8 = 4;
const USES: u8 = 8;
const EXHAUSTED: u8 = 16;
const TERMS: u8 = 32;
const NOTE: u8 = 64;
const BREAK_GLASS: u8 = 128;

/// What only some grants have, kept beside their records.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) id: GrantId,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) bound: Option<Box<(Bind, Digest)>>,
    pub(crate) reveals: Vec<Box<str>>,
}

/// A record, read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'r> {
    pub(super) id: u128,
    /// By how many milliseconds its request is older, and what of that is random.
    request: (i64, &'r [u8; 10]),
    pub(super) starts_at: i64,
    pub(super) expires_at: i64,
    /// The number of its kind.
    pub(super) kind: u32,
    /// Texts are compared as the bytes that they are, far more often than they are read.
    pub(super) user: Option<&'r [u8]>,
    pub(super) workload: Option<&'r [u8]>,
    pub(super) uses: Option<Uses>,
    pub(super) break_glass: bool,
    /// The place of its terms.
    pub(super) terms: Option<u32>,
    pub(super) note: Option<&'r [u8; 32]>,
    /// What of the resource is not in its kind.
    pub(super) rest: &'r [u8],
}

/// What has happened by the millisecond in an id.
fn millis(id: u128) -> i64 {
    i64::try_from(id >> 80).unwrap_or(0)
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

/// The record of a grant, with its length before it.
#[inline(never)]
pub(super) fn written(grant: &Grant, kind: u32, rest: &str, terms: Option<u32>, note: Option<&[u8; 32]>) -> Vec<u8> {
    let (user, workload) = match &grant.holder {
        GrantHolder::User(user) => (Some(&*user.subject), None),
        GrantHolder::Workload(workload) => (None, Some(workload.as_str())),
        GrantHolder::Both(user, workload) => (Some(&*user.subject), Some(workload.as_str())),
    };
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    let flags = flag(user.is_some(), USER)
        | flag(workload.is_some(), WORKLOAD)
        | flag(grant.uses.is_some(), USES)
        | flag(grant.uses.is_some_and(|uses| uses.exhausted), EXHAUSTED)
        | flag(terms.is_some(), TERMS)
        | flag(note.is_some(), NOTE)
        | flag(grant.break_glass, BREAK_GLASS);
    let (id, request) = (grant.id.bits(), grant.request.bits());
    let (starts, ends) = (grant.starts_at.millis(), grant.expires_at.millis());
    let mut body = Vec::with_capacity(128);
    body.push(flags);
    body.extend_from_slice(&id.to_le_bytes());
    put_number(&mut body, unsigned(millis(id).wrapping_sub(millis(request))));
    let [_, _, _, _, _, _, random @ ..] = request.to_be_bytes();
    body.extend_from_slice(&random);
    put_number(&mut body, unsigned(starts.wrapping_sub(millis(id))));
    put_number(&mut body, unsigned(ends.wrapping_sub(starts)));
    put_number(&mut body, u64::from(kind));
    user.into_iter().chain(workload).for_each(|text| put_text(&mut body, text));
    grant.uses.into_iter().for_each(|uses| put_number(&mut body, u64::from(uses.allowed)));
    terms.into_iter().for_each(|place| put_number(&mut body, u64::from(place)));
    note.into_iter().for_each(|note| body.extend_from_slice(note));
    body.extend_from_slice(rest.as_bytes());
    let mut whole = Vec::with_capacity(body.len().saturating_add(3));
    put_number(&mut whole, u64::try_from(body.len()).unwrap_or(u64::MAX));
    whole.append(&mut body);
    whole
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

/// The record at the beginning of some bytes without its length, and what follows it.
#[inline(never)]
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader(bytes);
    let length = usize::try_from(reader.number()?).ok()?;
    reader.0.split_at_checked(length)
}

/// The record at the beginning of some bytes, with its length.
pub(super) fn whole(bytes: &[u8]) -> &[u8] {
    let length = cut(bytes).map_or(0, |(_, after)| bytes.len().saturating_sub(after.len()));
    bytes.get(..length).unwrap_or_default()
}

/// Reads the record at the beginning of some bytes; nothing if there is none, or if it is dead.
#[inline(never)]
pub(super) fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let mut reader = Reader(cut(bytes)?.0);
    let flags = reader.byte()?;
    if flags & DEAD != 0 {
        return None;
    }
    let id = u128::from_le_bytes(*reader.array()?);
    let before = signed(reader.number()?);
    let random = reader.array()?;
    let starts_at = millis(id).wrapping_add(signed(reader.number()?));
    let expires_at = starts_at.wrapping_add(signed(reader.number()?));
    let kind = u32::try_from(reader.number()?).ok()?;
    let user = if flags & USER == 0 { None } else { Some(reader.text()?) };
    let workload = if flags & WORKLOAD == 0 { None } else { Some(reader.text()?) };
    let uses = if flags & USES == 0 {
        None
    } else {
        Some(Uses { allowed: u32::try_from(reader.number()?).ok()?, exhausted: flags & EXHAUSTED != 0 })
    };
    let terms = if flags & TERMS == 0 { None } else { Some(u32::try_from(reader.number()?).ok()?) };
    let note = if flags & NOTE == 0 { None } else { Some(reader.array()?) };
    Some(Record {
        id,
        request: (before, random),
        starts_at,
        expires_at,
        kind,
        user,
        workload,
        uses,
        break_glass: flags & BREAK_GLASS != 0,
        terms,
        note,
        rest: reader.0,
    })
}

/// Marks the record at the beginning of some bytes as dead; gives its whole length.
pub(super) fn kill(bytes: &mut [u8]) -> usize {
    let Some((body, after)) = cut(bytes) else { return 0 };
    let whole = bytes.len().saturating_sub(after.len());
    let prefix = whole.saturating_sub(body.len());
    if let Some(flags) = bytes.get_mut(prefix) {
        *flags |= DEAD;
    }
    whole
}

/// The places of all records in some bytes, dead ones with them.
pub(super) fn places(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut left = bytes;
    std::iter::from_fn(move || {
        let at = bytes.len().wrapping_sub(left.len());
        left = cut(left)?.1;
        Some(at)
    })
}

impl Record<'_> {
    /// What has ended before it began.
    pub(super) const NONE: Self = Self {
        id: 0,
        request: (0, &[0; 10]),
        starts_at: i64::MAX,
        expires_at: i64::MIN,
        kind: u32::MAX,
        user: None,
        workload: None,
        uses: None,
        break_glass: false,
        terms: None,
        note: None,
        rest: &[],
    };

    /// The id of its request.
    pub(super) fn request(&self) -> u128 {
        let (before, random) = self.request;
        let millis = u128::from(millis(self.id).wrapping_sub(before).cast_unsigned() & 0xffff_ffff_ffff);
        random.iter().fold(millis, |bits, byte| (bits << 8) | u128::from(*byte))
    }

    /// Whether the resource is this one, with what its kind has of it.
    #[inline]
    pub(super) fn is_for(&self, kind: &Kind, resource: &str) -> bool {
        resource.as_bytes().strip_prefix(kind.beginning.as_bytes()) == Some(self.rest)
    }
}

/// The text that some bytes of a record are: they were written as one.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
