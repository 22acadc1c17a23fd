//! Bundles of entries: each entry after its length, two bytes, most significant first.

use crate::record::RECORD_BYTES_MAX;

/// The readable entries of a bundle.
#[derive(Debug, PartialEq, Eq)]
pub struct Bundle<'a> {
    /// Entries in order, up to the first place that cannot be read.
    pub entries: Vec<&'a [u8]>,
    /// Bytes at the end that do not form an entry.
    pub rest_bytes: usize,
}

/// Appends one entry to the bytes of a bundle. Entries longer than [`RECORD_BYTES_MAX`] are
/// refused before they come here.
pub fn push(bundle: &mut Vec<u8>, entry: &[u8]) {
    debug_assert!(entry.len() <= RECORD_BYTES_MAX);
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}

/// Splits a bundle into its entries, as far as its lengths make sense.
pub fn split(bytes: &[u8]) -> Bundle<'_> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let Some((entry, after)) = after.split_at_checked(u16::from_be_bytes(*length).into())
        else {
            break;
        };
        entries.push(entry);
        rest = after;
    }
    Bundle {
        entries,
        rest_bytes: rest.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_come_back_as_they_went_in(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)
        ) {
            let mut bytes = Vec::new();
            for entry in &entries {
                push(&mut bytes, entry);
            }
            let bundle = split(&bytes);
            prop_assert_eq!(bundle.rest_bytes, 0);
            prop_assert_eq!(bundle.entries, entries);
        }

        #[test]
        fn any_bytes_are_split_without_loss(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let bundle = split(&bytes);
            let read: usize = bundle.entries.iter().map(|entry| entry.len() + 2).sum();
            prop_assert_eq!(read + bundle.rest_bytes, bytes.len());
        }
    }
}
