//! A small reader of protobuf messages: borrows, never allocates, and gives an error for whatever is not well formed.
//! Knows the wire format, `map` fields and the kinds of `google.protobuf.Value`; nothing of identities.

/// The bytes are not the message that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What stands in one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content<'a> {
    Varint(u64),
    Double(f64),
    Bytes(&'a [u8]),
    Other,
}

/// A `google.protobuf.Value`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Number(f64),
    Text(&'a [u8]),
    Bool(bool),
    Struct(&'a [u8]),
    List(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads one: it has exactly one kind.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut found = None;
        for field in Fields(bytes) {
            let value = match field? {
                (1, Content::Varint(_)) => Self::Null,
                (2, Content::Double(number)) => Self::Number(number),
                (3, Content::Bytes(text)) => Self::Text(text),
                (4, Content::Varint(truth)) => Self::Bool(truth != 0),
                (5, Content::Bytes(fields)) => Self::Struct(fields),
                (6, Content::Bytes(items)) => Self::List(items),
                (1..=6, _) => return Err(Malformed),
                _ => continue,
            };
            if found.replace(value).is_some() {
                return Err(Malformed);
            }
        }
        // A value of no kind is what the proxy writes for none.
        Ok(found.unwrap_or(Self::Null))
    }
}

/// The fields of one message.
#[derive(Clone)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64_u32).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if *byte < 0x80 {
                return (shift < 63 || *byte <= 1).then_some(value);
            }
        }
        None
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = tail;
        Some(head)
    }

    fn field(&mut self) -> Option<(u64, Content<'a>)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Double(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = self.varint()?;
                Content::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Content::Other)?,
            _ => return None,
        };
        let number = tag >> 3;
        (number != 0).then_some((number, content))
    }

    /// The messages in the fields of one number; other fields are passed over.
    pub(super) fn messages(self, wanted: u64) -> impl Iterator<Item = Result<&'a [u8], Malformed>> {
        self.filter_map(move |field| match field {
            Err(error) => Some(Err(error)),
            Ok((number, _)) if number != wanted => None,
            Ok((_, Content::Bytes(bytes))) => Some(Ok(bytes)),
            Ok(_) => Some(Err(Malformed)),
        })
    }

    /// The (key, value) pairs of a map field.
    pub(super) fn entries(self, wanted: u64) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8]), Malformed>> {
        self.messages(wanted).map(|entry| {
            let (mut key, mut value) = (None, None);
            for field in Fields(entry?) {
                let slot = match field? {
                    (1, Content::Bytes(bytes)) => key.replace(bytes),
                    (2, Content::Bytes(bytes)) => value.replace(bytes),
                    (1 | 2, _) => return Err(Malformed),
                    _ => None,
                };
                if slot.is_some() {
                    return Err(Malformed);
                }
            }
            Ok((key.unwrap_or_default(), value.unwrap_or_default()))
        })
    }

    /// The value under one key of a map field; a key that is there twice is refused.
    pub(super) fn entry(self, wanted: u64, key: &[u8]) -> Result<Option<&'a [u8]>, Malformed> {
        let mut found = None;
        for entry in self.entries(wanted) {
            let (name, value) = entry?;
            if name == key && found.replace(value).is_some() {
                return Err(Malformed);
            }
        }
        Ok(found)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Content<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            // What follows a broken field has no meaning.
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}
