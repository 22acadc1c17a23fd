//! The digest of a copy as of a cut, while writes go on: a leaf is hashed before its first
//! overwrite after the cut, and the rest when there is nothing better to do.
//!
//! Root: BLAKE3 over the ASCII text `yundu-volume-v1`, the size and the leaf size (little-endian
//! 64-bit), then the BLAKE3 digests of all leaves in order.

use crate::control::CutDigest;
use crate::image::Image;
use std::io;

/// Size of a leaf, bytes.
pub const LEAF_BYTES: u64 = 4 << 20;

/// A digest in the making.
#[derive(Debug)]
pub struct CutHash {
    name: String,
    generation: u64,
    size_bytes: u64,
    leaves: Vec<Option<[u8; 32]>>,
    hashed_bytes: u64,
    cursor: usize,
    hole: [u8; 32],
    root: Option<String>,
}

impl CutHash {
    /// Starts at the cut: from now on every write must be announced to
    /// [`CutHash::before_write`].
    pub fn start(name: String, generation: u64, size_bytes: u64) -> Self {
        let leaves = usize::try_from(size_bytes.div_ceil(LEAF_BYTES)).unwrap_or(usize::MAX);
        let zeroes = vec![0; usize::try_from(LEAF_BYTES).unwrap_or(0)];
        Self {
            name,
            generation,
            size_bytes,
            leaves: vec![None; leaves],
            hashed_bytes: 0,
            cursor: 0,
            hole: *blake3::hash(&zeroes).as_bytes(),
            root: None,
        }
    }

    /// Hashes what a write is about to change.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn before_write(
        &mut self,
        image: &Image,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> io::Result<()> {
        if self.root.is_some() || length_bytes == 0 {
            return Ok(());
        }
        let first = offset_bytes / LEAF_BYTES;
        let last = (offset_bytes + length_bytes - 1) / LEAF_BYTES;
        for leaf in first..=last {
            self.hash_leaf(image, usize::try_from(leaf).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    /// Hashes one more leaf; `true` when the root is known.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn step(&mut self, image: &Image) -> io::Result<bool> {
        if self.root.is_some() {
            return Ok(true);
        }
        while self.leaves.get(self.cursor).is_some_and(Option::is_some) {
            self.cursor += 1;
        }
        if self.cursor < self.leaves.len() {
            self.hash_leaf(image, self.cursor)?;
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"yundu-volume-v1");
        hasher.update(&self.size_bytes.to_le_bytes());
        hasher.update(&LEAF_BYTES.to_le_bytes());
        for leaf in self.leaves.iter().flatten() {
            hasher.update(leaf);
        }
        self.root = Some(hasher.finalize().to_hex().to_string());
        Ok(true)
    }

    fn hash_leaf(&mut self, image: &Image, index: usize) -> io::Result<()> {
        let Some(slot @ None) = self.leaves.get_mut(index) else {
            return Ok(());
        };
        let offset = index as u64 * LEAF_BYTES;
        let length = LEAF_BYTES.min(self.size_bytes - offset);
        let (data, _) = image.data_extents(offset, length, 1)?;
        let digest = if data.is_empty() && length == LEAF_BYTES {
            self.hole
        } else {
            image.hash(offset, length)?
        };
        *slot = Some(digest);
        self.hashed_bytes += length;
        Ok(())
    }

    /// Is the root known?
    pub fn is_done(&self) -> bool {
        self.root.is_some()
    }

    /// Generation that began with the cut.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Progress, or the root.
    pub fn digest(&self) -> CutDigest {
        CutDigest {
            id: self.name.clone(),
            root: self.root.clone().unwrap_or_default(),
            hashed_bytes: self.hashed_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_is_that_of_the_cut_whatever_is_written_after() {
        let directory = tempfile::tempdir().unwrap();
        let size = 3 * LEAF_BYTES + 12_345;
        let open = |name: &str| {
            let image = Image::open(&directory.path().join(name), true).unwrap();
            image.ensure_size(size).unwrap();
            image.write(b"before the cut", LEAF_BYTES + 7).unwrap();
            image.write(b"end", size - 3).unwrap();
            image
        };
        let (quiet, busy) = (open("quiet"), open("busy"));
        let mut still = CutHash::start("c".into(), 2, size);
        while !still.step(&quiet).unwrap() {}
        let mut moving = CutHash::start("c".into(), 2, size);
        moving.step(&busy).unwrap();
        for offset in [3, LEAF_BYTES + 8, 2 * LEAF_BYTES, size - 2] {
            moving.before_write(&busy, offset, 2).unwrap();
            busy.write(b"xx", offset).unwrap();
        }
        while !moving.step(&busy).unwrap() {}
        assert_eq!(moving.digest(), still.digest());
        // And it would differ without looking ahead.
        let mut late = CutHash::start("c".into(), 2, size);
        while !late.step(&busy).unwrap() {}
        assert_ne!(late.digest().root, still.digest().root);
    }
}
