//! Reads a document that has unknown fields a second time, to tell all of them and not only the first. Called by `parse` alone:
//! nothing that is read here becomes policy.

use std::cell::RefCell;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer as _, MapAccess,
    SeqAccess, Visitor,
};
use serde_saphyr::{Location, Spanned};

/// So many unknown fields of one document are told.
const MAX_UNKNOWN: usize = 100;

/// A field that is not known where it stands.
#[derive(Debug, Clone)]
pub(super) struct Unknown {
    pub(super) name: String,
    pub(super) place: Location,
    pub(super) expected: &'static [&'static str],
}

/// The unknown fields of a document, and what else is wrong with it.
pub(super) fn unknown_fields<T: DeserializeOwned>(text: &str) -> (Vec<Unknown>, Option<serde_saphyr::Error>) {
    let unknown = RefCell::default();
    let read = serde_saphyr::with_deserializer_from_str(text, |inner| {
        T::deserialize(Tolerant { inner, unknown: &unknown }).map(|_| ())
    });
    (unknown.into_inner(), read.err())
}

type Found = RefCell<Vec<Unknown>>;

/// A part of a document, within which unknown fields are noted and left out.
struct Tolerant<'f, D> {
    inner: D,
    unknown: &'f Found,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Tolerant<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        self.inner.deserialize(Tolerant { inner, unknown: self.unknown })
    }
}

macro_rules! as_it_is {
    ($($method:ident($($argument:ident: $kind:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Tolerant<'_, D> {
    type Error = D::Error;

    // Structures stand within structures, lists and options only.
    as_it_is! {
        deserialize_any() deserialize_bool() deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64()
        deserialize_i128() deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string() deserialize_bytes()
        deserialize_byte_buf() deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str) deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize) deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) deserialize_identifier()
        deserialize_ignored_any()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Within { visitor, fields: &[], unknown: self.unknown })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_seq(Within { visitor, fields: &[], unknown: self.unknown })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_struct(name, fields, Within { visitor, fields, unknown: self.unknown })
    }
}

/// What visits a structure, list or option.
struct Within<'f, V> {
    visitor: V,
    /// Of a structure.
    fields: &'static [&'static str],
    unknown: &'f Found,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Within<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Tolerant { inner, unknown: self.unknown })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Parts { inner, fields: &[], unknown: self.unknown })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Parts { inner, fields: self.fields, unknown: self.unknown })
    }
}

/// The parts of a structure or list, without unknown fields.
struct Parts<'f, A> {
    inner: A,
    fields: &'static [&'static str],
    unknown: &'f Found,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Parts<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_element_seed(Tolerant { inner: seed, unknown: self.unknown })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Parts<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.inner.next_key::<Spanned<String>>()? {
            if self.fields.contains(&key.value.as_str()) {
                return seed.deserialize(key.value.into_deserializer()).map(Some);
            }
            self.inner.next_value::<IgnoredAny>()?;
            let mut unknown = self.unknown.try_borrow_mut().map_err(A::Error::custom)?;
            if unknown.len() < MAX_UNKNOWN {
                unknown.push(Unknown { name: key.value, place: key.referenced, expected: self.fields });
            }
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(Tolerant { inner: seed, unknown: self.unknown })
    }
}
