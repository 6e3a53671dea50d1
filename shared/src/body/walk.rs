//! The way from the root of a body to the places that are wanted, through nothing but the objects and arrays on it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::BodyError;
use super::pointer::{Pointer, index};

/// What is at the end of a pointer, as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'b> {
    /// The value.
    Value(&'b str),
    /// What stands where an object or array would have to be.
    InTheWay(&'b str),
}

/// Tells what each pointer leads to, by its place in the list, and nothing of those that lead nowhere.
pub(super) fn walk<'b>(
    text: &'b str,
    pointers: &[Pointer<'_>],
    tell: &mut impl FnMut(usize, Found<'b>),
) -> Result<(), BodyError> {
    let mut open = vec![Open { raw: text, level: 0, places: (0..pointers.len()).collect() }];
    while let Some(Open { raw, level, places }) = open.pop() {
        let token = |place: &usize| pointers.get(*place).and_then(|pointer| pointer.token(level));
        let (further, here): (Vec<usize>, Vec<usize>) = places.into_iter().partition(|place| token(place).is_some());
        here.into_iter().for_each(|place| tell(place, Found::Value(raw)));
        let wanted: Vec<(&str, usize)> = further.iter().filter_map(|place| Some((token(place)?, *place))).collect();
        if wanted.is_empty() {
            continue;
        }
        let (steps, in_the_way) = match raw.as_bytes().first() {
            Some(b'{') => (members(raw, &wanted)?, Vec::new()),
            Some(b'[') => elements(raw, &wanted)?,
            _ => (Vec::new(), further),
        };
        in_the_way.into_iter().for_each(|place| tell(place, Found::InTheWay(raw)));
        open.extend(steps.into_iter().map(|(raw, places)| Open { raw, level: level.saturating_add(1), places }));
    }
    Ok(())
}

/// A value that pointers lead through.
struct Open<'b> {
    raw: &'b str,
    level: usize,
    places: Vec<usize>,
}

type Steps<'b> = Vec<(&'b str, Vec<usize>)>;

/// A text's content.
pub(super) fn text(raw: &str) -> Result<Cow<'_, str>, BodyError> {
    serde_json::from_slice::<Text<'_>>(raw.as_bytes()).map(|Text(text)| text).map_err(malformed)
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn malformed(error: serde_json::Error) -> BodyError {
    BodyError::Malformed(error.to_string())
}

/// The members of an object whose keys are wanted.
fn members<'b>(raw: &'b str, wanted: &[(&str, usize)]) -> Result<Steps<'b>, BodyError> {
    let mut refused = None;
    let members = Members { wanted, refused: &mut refused };
    let steps = members.deserialize(&mut serde_json::Deserializer::from_slice(raw.as_bytes()));
    match refused {
        Some(refused) => Err(refused),
        None => steps.map_err(malformed),
    }
}

struct Members<'w, 'r> {
    wanted: &'w [(&'w str, usize)],
    refused: &'r mut Option<BodyError>,
}

impl<'b> DeserializeSeed<'b> for Members<'_, '_> {
    type Value = Steps<'b>;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'b> Visitor<'b> for Members<'_, '_> {
    type Value = Steps<'b>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut steps: Steps<'b> = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        while let Some(Text(key)) = map.next_key()? {
            let Some((token, _)) = self.wanted.iter().find(|(token, _)| same_to_some(token, &key)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // Another spelling is refused also where the plain one does not come: some parsers would take it.
            if seen.contains(token) || *key != **token {
                *self.refused = Some(BodyError::TwoKeys((*token).to_owned()));
                return Err(serde::de::Error::custom("two keys"));
            }
            seen.push(token);
            let value: &RawValue = map.next_value()?;
            let places = self.wanted.iter().filter(|(other, _)| other == token).map(|(_, place)| *place).collect();
            steps.push((value.get(), places));
        }
        Ok(steps)
    }
}

/// Whether some parser takes the key for the wanted one: without regard to letter case (as Go's does, which also folds the
/// two letters below), or only up to a zero. Which other letters are one to whom is not known here: any may be.
fn same_to_some(wanted: &str, key: &str) -> bool {
    let key = key.split('\0').next().unwrap_or_default();
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ if letter.is_ascii() => letter.to_ascii_lowercase(),
        _ => char::REPLACEMENT_CHARACTER,
    };
    wanted.chars().map(fold).eq(key.chars().map(fold))
}

/// The elements of an array that are wanted, and the places of tokens that are no index.
fn elements<'b>(raw: &'b str, wanted: &[(&str, usize)]) -> Result<(Steps<'b>, Vec<usize>), BodyError> {
    let indices: Vec<(Option<usize>, usize)> = wanted.iter().map(|(token, place)| (index(token), *place)).collect();
    let steps =
        Elements(&indices).deserialize(&mut serde_json::Deserializer::from_slice(raw.as_bytes())).map_err(malformed)?;
    Ok((steps, indices.iter().filter(|(index, _)| index.is_none()).map(|(_, place)| *place).collect()))
}

struct Elements<'w>(&'w [(Option<usize>, usize)]);

impl<'b> DeserializeSeed<'b> for Elements<'_> {
    type Value = Steps<'b>;

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'b> Visitor<'b> for Elements<'_> {
    type Value = Steps<'b>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut steps: Steps<'b> = Vec::new();
        for at in 0_usize.. {
            let places: Vec<usize> =
                self.0.iter().filter(|(index, _)| *index == Some(at)).map(|(_, place)| *place).collect();
            if places.is_empty() {
                if array.next_element::<IgnoredAny>()?.is_none() {
                    break;
                }
                continue;
            }
            let Some(value) = array.next_element::<&RawValue>()? else { break };
            steps.push((value.get(), places));
        }
        Ok(steps)
    }
}

/// A text, lent from the body where it has no escapes.
struct Text<'b>(Cow<'b, str>);

impl<'b> Deserialize<'b> for Text<'b> {
    fn deserialize<D: Deserializer<'b>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWritten;
        impl<'b> Visitor<'b> for AsWritten {
            type Value = Text<'b>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'b str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(AsWritten)
    }
}
