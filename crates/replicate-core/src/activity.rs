//! The activity log: which 4 MiB extents may hold writes that a power loss would leave different
//! on the two copies. An extent is durable here before the first write into it; after a power
//! loss every block of every hot extent counts as dirty.

use crate::block::{BLOCK_BYTES, Blocks};

/// Size of an extent, bytes.
pub const EXTENT_BYTES: u64 = 4 << 20;
/// Size of a page of the log on disk: what a disk writes in one piece.
pub const PAGE_BYTES: usize = 512;
/// Extents that one page holds: the page less its checksum.
const EXTENTS_PER_PAGE: u64 = (PAGE_BYTES as u64 - 4) * 8;
const BLOCKS_PER_EXTENT: u64 = EXTENT_BYTES / BLOCK_BYTES;

/// One page of the log as it stands on disk: CRC-32, then one bit for each extent.
pub type Page = [u8; PAGE_BYTES];

/// The set of hot extents, and which of them the disk knows.
#[derive(Clone, Debug)]
pub struct ActivityLog {
    pages: Vec<Page>,
    durable: Vec<Page>,
    extents: u64,
}

impl ActivityLog {
    /// Number of pages for a volume of `size_bytes`.
    pub fn pages_for(size_bytes: u64) -> usize {
        usize::try_from(size_bytes.div_ceil(EXTENT_BYTES).div_ceil(EXTENTS_PER_PAGE))
            .unwrap_or(usize::MAX)
    }

    /// Reads the log of a volume of `size_bytes`. `bytes` is what the disk holds: empty for a
    /// new volume. A page whose checksum does not fit (torn, or rotten) counts as hot all over.
    pub fn load(size_bytes: u64, bytes: &[u8]) -> Self {
        let extents = size_bytes.div_ceil(EXTENT_BYTES);
        let mut pages = vec![sealed([0; PAGE_BYTES]); Self::pages_for(size_bytes)];
        for (page, stored) in pages.iter_mut().zip(bytes.chunks(PAGE_BYTES)) {
            let whole = Page::try_from(stored)
                .ok()
                .filter(|stored| sealed(*stored) == *stored);
            *page = whole.unwrap_or_else(|| sealed([0xff; PAGE_BYTES]));
        }
        Self {
            durable: pages.clone(),
            pages,
            extents,
        }
    }

    /// Are all extents under `blocks` durably hot, so that a write may go ahead?
    pub fn is_durable(&self, blocks: Blocks) -> bool {
        extents_of(blocks).all(|extent| bit(&self.durable, extent) && bit(&self.pages, extent))
    }

    /// Heats the extents under `blocks`; says whether a page changed.
    pub fn heat(&mut self, blocks: Blocks) -> bool {
        let mut changed = false;
        for extent in extents_of(blocks) {
            if !bit(&self.pages, extent) {
                put_bit(&mut self.pages, extent, true);
                changed = true;
            }
        }
        changed
    }

    /// The pages that differ from the disk, sealed, with their indices.
    pub fn pending_pages(&mut self) -> Vec<(usize, Page)> {
        let mut pending = Vec::new();
        for (index, (page, durable)) in self.pages.iter_mut().zip(&mut self.durable).enumerate() {
            *page = sealed(*page);
            if page != durable {
                pending.push((index, *page));
                // While the disk writes, it holds either of the two.
                for (durable, page) in durable.iter_mut().zip(page.iter()) {
                    *durable &= page;
                }
            }
        }
        pending
    }

    /// The disk holds these pages now.
    pub fn pages_durable(&mut self, pages: &[(usize, Page)]) {
        for (index, page) in pages {
            if let Some(durable) = self.durable.get_mut(*index) {
                *durable = *page;
            }
        }
    }

    /// Number of hot extents.
    pub fn hot_count(&self) -> u64 {
        (0..self.extents)
            .filter(|extent| bit(&self.pages, *extent))
            .count() as u64
    }

    /// Cools every extent for which `idle` holds. Allowed only while the exact bitmap is durable:
    /// from then on it alone remembers those extents.
    pub fn cool(&mut self, mut idle: impl FnMut(Blocks) -> bool) {
        for extent in 0..self.extents {
            if bit(&self.pages, extent) && idle(blocks_of(extent)) {
                put_bit(&mut self.pages, extent, false);
            }
        }
    }

    /// Blocks of all hot extents.
    pub fn hot_blocks(&self) -> impl Iterator<Item = Blocks> + '_ {
        (0..self.extents)
            .filter(|extent| bit(&self.pages, *extent))
            .map(blocks_of)
    }
}

fn extents_of(blocks: Blocks) -> std::ops::Range<u64> {
    blocks.first / BLOCKS_PER_EXTENT..blocks.end.div_ceil(BLOCKS_PER_EXTENT)
}

fn blocks_of(extent: u64) -> Blocks {
    Blocks {
        first: extent * BLOCKS_PER_EXTENT,
        end: (extent + 1) * BLOCKS_PER_EXTENT,
    }
}

fn place(extent: u64) -> Option<(usize, usize, u8)> {
    let page = usize::try_from(extent / EXTENTS_PER_PAGE).ok()?;
    let within = extent % EXTENTS_PER_PAGE;
    Some((
        page,
        4 + usize::try_from(within / 8).ok()?,
        1 << (within % 8),
    ))
}

fn bit(pages: &[Page], extent: u64) -> bool {
    place(extent)
        .and_then(|(page, byte, mask)| Some(pages.get(page)?.get(byte)? & mask != 0))
        .unwrap_or(false)
}

fn put_bit(pages: &mut [Page], extent: u64, value: bool) {
    let Some((page, byte, mask)) = place(extent) else {
        return;
    };
    let Some(byte) = pages.get_mut(page).and_then(|page| page.get_mut(byte)) else {
        return;
    };
    if value {
        *byte |= mask;
    } else {
        *byte &= !mask;
    }
}

fn sealed(mut page: Page) -> Page {
    let (checksum, body) = page.split_at_mut(4);
    // An all-zero page would carry the checksum of zeros, which is not zero: a page that was
    // never written is told from one that was lost.
    checksum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 40 << 30;

    #[test]
    fn an_extent_is_durable_only_after_the_disk_has_it() {
        let mut log = ActivityLog::load(SIZE, &[]);
        let blocks = Blocks {
            first: 1000,
            end: 1100,
        };
        assert!(!log.is_durable(blocks));
        assert!(log.heat(blocks));
        assert!(!log.is_durable(blocks));
        let pending = log.pending_pages();
        assert_eq!(pending.len(), 1);
        log.pages_durable(&pending);
        assert!(log.is_durable(blocks));
        assert!(!log.heat(blocks));
        assert_eq!(log.hot_count(), 2);
    }

    #[test]
    fn a_torn_page_counts_as_hot_all_over() {
        let mut log = ActivityLog::load(SIZE, &[]);
        log.heat(Blocks { first: 0, end: 1 });
        let mut disk: Vec<u8> = log
            .pending_pages()
            .iter()
            .flat_map(|(_, page)| *page)
            .collect();
        let again = ActivityLog::load(SIZE, &disk);
        assert_eq!(again.hot_count(), 1);
        disk[300] ^= 4;
        let torn = ActivityLog::load(SIZE, &disk);
        assert!(torn.hot_count() >= 4000);
    }

    #[test]
    fn cooling_keeps_what_is_not_idle() {
        let mut log = ActivityLog::load(SIZE, &[]);
        log.heat(Blocks {
            first: 0,
            end: 4096,
        });
        assert_eq!(log.hot_count(), 4);
        log.cool(|blocks| blocks.first != 0);
        assert_eq!(log.hot_count(), 1);
        assert_eq!(
            log.hot_blocks().next(),
            Some(Blocks {
                first: 0,
                end: 1024
            })
        );
    }
}
