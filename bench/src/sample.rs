//! Images to copy and to write to.

use anyhow::{Context as _, Result, bail};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Length of a run of noise, and of the hole after it, bytes.
pub const RUN_BYTES: u64 = 64 << 20;
const PIECE_BYTES: usize = 1 << 20;

/// Writes `size_bytes` of alternating noise and holes, [`RUN_BYTES`] each.
pub fn write_half_holes(path: &Path, size_bytes: u64) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    file.set_len(size_bytes)?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < size_bytes {
        if (at / RUN_BYTES).is_multiple_of(2) {
            noise.fill(&mut piece);
            let length = usize::try_from((size_bytes - at).min(PIECE_BYTES as u64))?;
            file.write_all_at(piece.get(..length).unwrap_or_default(), at)?;
        }
        at += PIECE_BYTES as u64;
    }
    file.sync_all()?;
    Ok(())
}

/// Writes an image without holes.
pub fn write_noise(path: &Path, size_bytes: u64) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut noise = Noise(0xd1b5_4a32_d192_ed03);
    let mut piece = vec![0; PIECE_BYTES];
    for _ in 0..size_bytes / PIECE_BYTES as u64 {
        noise.fill(&mut piece);
        file.write_all(&piece)?;
    }
    file.sync_all()?;
    Ok(())
}

/// An image of holes only.
pub fn write_empty(path: &Path, size_bytes: u64) -> Result<()> {
    let _ = std::fs::remove_file(path);
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    file.set_len(size_bytes)?;
    Ok(())
}

/// Fails unless both files have the same content: a fast copy of something else is worth nothing.
pub fn check_same(left: &Path, right: &Path) -> Result<()> {
    let (mut one, mut other) = (File::open(left)?, File::open(right)?);
    let (mut a, mut b) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let (size, size_other) = (one.metadata()?.len(), other.metadata()?.len());
    if size != size_other {
        bail!("the copy has {size_other} bytes, the source {size}");
    }
    let mut at = 0;
    while at < size {
        let length = usize::try_from((size - at).min(PIECE_BYTES as u64))?;
        let (a, b) = (a.get_mut(..length), b.get_mut(..length));
        let (a, b) = (a.unwrap_or_default(), b.unwrap_or_default());
        one.read_exact(a)?;
        other.read_exact(b)?;
        if a != b {
            bail!(
                "the copy {} differs from its source near byte {at}",
                right.display()
            );
        }
        at += length as u64;
    }
    Ok(())
}

/// Waits until what was written before stands on disk, so that no candidate pays for another.
pub fn settle(work: &Path) -> Result<()> {
    rustix::fs::syncfs(File::open(work)?)?;
    Ok(())
}

/// Bytes that do not compress, always the same.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, piece: &mut [u8]) {
        for word in piece.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let bytes = self.0.to_le_bytes();
            word.copy_from_slice(bytes.get(..word.len()).unwrap_or_default());
        }
    }
}
