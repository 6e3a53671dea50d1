//! The proxy's form of a header map, read in place: counts and lengths first, then names and values as bytes.
//! One read serves a whole call. The bytes come from callers; whatever they are, reading them is total.

/// A header map in the proxy's serialised form.
///
/// The form is a little-endian count, then for each header the lengths of name and value, then each name and value
/// followed by a zero byte.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    lengths: &'a [u8],
    texts: &'a [u8],
    bytes: usize,
}

/// The map is not in the proxy's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header map is not in the proxy's form")]
pub struct HeadersError;

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, tail) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*head)).ok()?, tail))
}

impl<'a> Headers<'a> {
    /// Checks the whole form, so that iterating cannot stop early.
    ///
    /// # Errors
    /// If lengths and texts do not fit each other exactly.
    pub fn parse(map: &'a [u8]) -> Result<Self, HeadersError> {
        let bytes = map.len();
        if map.is_empty() {
            return Ok(Self { lengths: map, texts: map, bytes });
        }
        let (count, rest) = number(map).ok_or(HeadersError)?;
        let split = count.checked_mul(8).ok_or(HeadersError)?;
        let (lengths, texts) = rest.split_at_checked(split).ok_or(HeadersError)?;
        let mut iter = Iter { lengths, texts };
        let seen = iter.by_ref().count();
        if seen != count || !iter.texts.is_empty() {
            return Err(HeadersError);
        }
        Ok(Self { lengths, texts, bytes })
    }

    /// All headers in order, as (name, value).
    #[must_use]
    pub const fn iter(&self) -> Iter<'a> {
        Iter { lengths: self.lengths, texts: self.texts }
    }

    /// The size of the serialised form: a little more than all names and values.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.bytes
    }

    /// The value of a header that is there exactly once.
    #[must_use]
    pub fn single(&self, name: &[u8]) -> Option<&'a [u8]> {
        let mut values = self.iter().filter(|(known, _)| *known == name).map(|(_, value)| value);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }
}

/// Writes a header map in the proxy's form.
#[must_use]
pub fn serialise(headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
    let mut map = Vec::with_capacity(256);
    map.extend_from_slice(&length(headers.len()));
    for (name, value) in headers {
        map.extend_from_slice(&length(name.len()));
        map.extend_from_slice(&length(value.len()));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        map.extend_from_slice(text);
        map.push(0);
    }
    map
}

/// See [`Headers::iter`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    lengths: &'a [u8],
    texts: &'a [u8],
}

impl<'a> Iter<'a> {
    fn text(&mut self) -> Option<&'a [u8]> {
        let (length, lengths) = number(self.lengths)?;
        let (text, rest) = self.texts.split_at_checked(length)?;
        let (zero, texts) = rest.split_first()?;
        if *zero != 0 {
            return None;
        }
        (self.lengths, self.texts) = (lengths, texts);
        Some(text)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.text()?, self.text()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_empty_map_is_a_map() {
        for map in [&b""[..], &[0, 0, 0, 0]] {
            assert_eq!(Headers::parse(map).unwrap().iter().count(), 0);
        }
    }

    #[test]
    fn cut_and_padded_maps_are_refused() {
        let map = serialise(&[(b":path", b"/"), (b"x", b"\xff\x00")]);
        assert_eq!(Headers::parse(&map).unwrap().single(b"x"), Some(&b"\xff\x00"[..]));
        for end in 1..map.len() {
            assert_eq!(Headers::parse(&map[..end]).unwrap_err(), HeadersError, "{end}");
        }
        assert!(Headers::parse(&[&map[..], b"\0"].concat()).is_err());
        assert!(Headers::parse(&[0xff; 64]).is_err());
    }

    #[test]
    fn a_header_that_comes_twice_is_not_single() {
        let map = serialise(&[(b"a", b"1"), (b"a", b"1")]);
        assert_eq!(Headers::parse(&map).unwrap().single(b"a"), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(headers: Vec<(Vec<u8>, Vec<u8>)>) {
            let pairs: Vec<(&[u8], &[u8])> =
                headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            let map = serialise(&pairs);
            prop_assert_eq!(Headers::parse(&map).unwrap().iter().collect::<Vec<_>>(), pairs);
        }

        #[test]
        fn any_bytes_are_read_or_refused(map: Vec<u8>) {
            if let Ok(headers) = Headers::parse(&map) {
                prop_assert!(headers.iter().count() <= map.len());
            }
        }
    }
}
