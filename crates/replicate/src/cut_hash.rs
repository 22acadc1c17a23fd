//! The digest of a copy as of a cut, while writes go on: what a write is about to change is kept
//! aside until its leaf has been hashed, and leaves are hashed when there is nothing better to do.
//!
//! Root: BLAKE3 over the ASCII text `yundu-volume-v1`, the size and the leaf size (little-endian
//! 64-bit), then the BLAKE3 digests of all leaves in order.

use crate::control::CutDigest;
use crate::image::Image;
use std::collections::BTreeMap;
use std::io;
use std::sync::OnceLock;
use yundu_replicate_core::block::{BLOCK_BYTES, Blocks};

/// Size of a leaf, bytes.
pub const LEAF_BYTES: u64 = 4 << 20;
/// What one step reads and hashes, bytes.
const STEP_BYTES: u64 = 256 << 10;
/// Blocks kept aside at most (16 MiB); beyond that a leaf is hashed before its overwrite.
const KEPT_BLOCKS_MAX: usize = 4096;

/// A digest in the making.
#[derive(Debug)]
pub struct CutHash {
    name: String,
    generation: u64,
    size_bytes: u64,
    leaves: Vec<Option<[u8; 32]>>,
    /// The leaf being hashed, and how far: bytes from its start.
    leaf: usize,
    position_bytes: u64,
    hasher: blake3::Hasher,
    /// Old content of blocks that were overwritten before they were hashed.
    kept: BTreeMap<u64, Vec<u8>>,
    hashed_bytes: u64,
    root: Option<String>,
}

impl CutHash {
    /// Starts at the cut: from now on every write must be announced to
    /// [`CutHash::before_write`].
    pub fn start(name: String, generation: u64, size_bytes: u64) -> Self {
        let leaves = usize::try_from(size_bytes.div_ceil(LEAF_BYTES)).unwrap_or(usize::MAX);
        Self {
            name,
            generation,
            size_bytes,
            leaves: vec![None; leaves],
            leaf: 0,
            position_bytes: 0,
            hasher: blake3::Hasher::new(),
            kept: BTreeMap::new(),
            hashed_bytes: 0,
            root: None,
        }
    }

    /// Keeps aside what a write is about to change.
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
        let touched = Blocks::touched(offset_bytes, length_bytes);
        for leaf in offset_bytes / LEAF_BYTES..=(offset_bytes + length_bytes - 1) / LEAF_BYTES {
            let leaf_blocks = Blocks::touched(leaf * LEAF_BYTES, LEAF_BYTES);
            let blocks = Blocks {
                first: touched.first.max(leaf_blocks.first),
                end: touched.end.min(leaf_blocks.end),
            };
            let index = usize::try_from(leaf).unwrap_or(usize::MAX);
            if !matches!(self.leaves.get(index), Some(None)) {
                continue;
            }
            let room = KEPT_BLOCKS_MAX.saturating_sub(self.kept.len()) as u64;
            if blocks.count() > room {
                self.hash_leaf_now(image, index)?;
            } else {
                self.keep(image, index, blocks)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, image: &Image, leaf: usize, blocks: Blocks) -> io::Result<()> {
        let hashed_to = if leaf == self.leaf {
            leaf as u64 * LEAF_BYTES + self.position_bytes
        } else {
            0
        };
        for block in blocks.first..blocks.end {
            let one = Blocks {
                first: block,
                end: block + 1,
            };
            if one.offset_bytes() < hashed_to || self.kept.contains_key(&block) {
                continue;
            }
            let length = usize::try_from(one.length_bytes(self.size_bytes)).unwrap_or(0);
            let mut content = vec![0; length];
            image.read(&mut content, one.offset_bytes())?;
            self.kept.insert(block, content);
        }
        Ok(())
    }

    /// Hashes a little more; `true` when the root is known.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn step(&mut self, image: &Image) -> io::Result<bool> {
        if self.root.is_some() {
            return Ok(true);
        }
        while self.leaves.get(self.leaf).is_some_and(Option::is_some) {
            self.begin_leaf(self.leaf + 1);
        }
        if self.leaf < self.leaves.len() {
            self.step_leaf(image)?;
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

    fn begin_leaf(&mut self, leaf: usize) {
        self.leaf = leaf;
        self.position_bytes = 0;
        self.hasher.reset();
    }

    fn hash_leaf_now(&mut self, image: &Image, leaf: usize) -> io::Result<()> {
        if leaf != self.leaf {
            // The leaf under way is begun again later; nothing of it has been given away yet.
            self.begin_leaf(leaf);
        }
        while matches!(self.leaves.get(leaf), Some(None)) {
            self.step_leaf(image)?;
        }
        self.begin_leaf(0);
        Ok(())
    }

    fn step_leaf(&mut self, image: &Image) -> io::Result<()> {
        let offset = self.leaf as u64 * LEAF_BYTES;
        let length = LEAF_BYTES.min(self.size_bytes - offset);
        let blocks = Blocks::touched(offset, length);
        let nothing_kept = self.kept.range(blocks.first..blocks.end).next().is_none();
        let digest = if self.position_bytes == 0
            && length == LEAF_BYTES
            && nothing_kept
            && image.data_extents(offset, length, 1)?.0.is_empty()
        {
            hole()
        } else {
            let step = STEP_BYTES.min(length - self.position_bytes);
            let content = self.content_of_the_cut(image, offset + self.position_bytes, step)?;
            self.hasher.update(&content);
            self.position_bytes += step;
            if self.position_bytes < length {
                return Ok(());
            }
            *self.hasher.finalize().as_bytes()
        };
        if let Some(slot) = self.leaves.get_mut(self.leaf) {
            *slot = Some(digest);
        }
        for block in blocks.first..blocks.end {
            self.kept.remove(&block);
        }
        self.hashed_bytes += length;
        self.begin_leaf(self.leaf + 1);
        Ok(())
    }

    fn content_of_the_cut(&self, image: &Image, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        image.read(&mut content, offset)?;
        let blocks = Blocks::touched(offset, length);
        for (block, kept) in self.kept.range(blocks.first..blocks.end) {
            let start = usize::try_from(block * BLOCK_BYTES - offset).map_err(io::Error::other)?;
            if let Some(place) = content.get_mut(start..start + kept.len()) {
                place.copy_from_slice(kept);
            }
        }
        Ok(content)
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

/// Digest of a leaf of zeroes.
fn hole() -> [u8; 32] {
    static HOLE: OnceLock<[u8; 32]> = OnceLock::new();
    *HOLE.get_or_init(|| {
        let mut hasher = blake3::Hasher::new();
        let zeroes = vec![0; usize::try_from(STEP_BYTES).unwrap_or(0)];
        for _ in 0..LEAF_BYTES / STEP_BYTES {
            hasher.update(&zeroes);
        }
        *hasher.finalize().as_bytes()
    })
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
        for round in 0..3 {
            moving.step(&busy).unwrap();
            for offset in [3, 300_000, LEAF_BYTES + 8, 2 * LEAF_BYTES, size - 2] {
                moving.before_write(&busy, offset, 2).unwrap();
                busy.write(if round == 1 { b"xx" } else { b"yy" }, offset)
                    .unwrap();
            }
        }
        // More than is kept aside: the leaf is hashed before it is overwritten.
        moving.before_write(&busy, 0, size).unwrap();
        busy.write(&vec![7; size as usize], 0).unwrap();
        while !moving.step(&busy).unwrap() {}
        assert_eq!(moving.digest(), still.digest());
        // And it would differ without looking ahead.
        let mut late = CutHash::start("c".into(), 2, size);
        while !late.step(&busy).unwrap() {}
        assert_ne!(late.digest().root, still.digest().root);
    }
}
