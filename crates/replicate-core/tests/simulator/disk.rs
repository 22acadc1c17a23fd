//! A disk in memory: what the page cache holds, what a power loss would leave, and the files
//! beside the image. A sector is one number: the id of the write that put it there.

use super::chance::Chance;
use bytes::Bytes;
use std::collections::BTreeMap;
use yundu_replicate_core::activity::{PAGE_BYTES, Page};
use yundu_replicate_core::bitmap::words_for;
use yundu_replicate_core::block::Blocks;
use yundu_replicate_core::meta::Meta;

pub const SECTOR_BYTES: u64 = 512;

pub struct Disk {
    pub cache: Vec<u64>,
    pub durable: Vec<u64>,
    /// Sectors written since they were last made durable: (order, value), oldest first.
    unflushed: BTreeMap<usize, Vec<(u64, u64)>>,
    order: u64,
    pub meta: Meta,
    pub activity: Vec<u8>,
    pub words: Vec<u64>,
    pub words_durable: Vec<u64>,
}

impl Disk {
    pub fn new(meta: Meta) -> Self {
        let mut disk = Self {
            cache: Vec::new(),
            durable: Vec::new(),
            unflushed: BTreeMap::new(),
            order: 0,
            meta,
            activity: Vec::new(),
            words: Vec::new(),
            words_durable: Vec::new(),
        };
        disk.resize(disk.meta.size_bytes);
        disk
    }

    pub fn resize(&mut self, size_bytes: u64) {
        let sectors = (size_bytes / SECTOR_BYTES) as usize;
        self.cache.resize(sectors, 0);
        self.durable.resize(sectors, 0);
        let words = words_for(Blocks::of_volume(size_bytes).end);
        self.words.resize(words, 0);
        self.words_durable.resize(words, 0);
    }

    pub fn is_empty(&self) -> bool {
        self.cache.iter().all(|value| *value == 0)
    }

    pub fn put(&mut self, sector: usize, value: u64) {
        self.order += 1;
        self.cache[sector] = value;
        self.unflushed
            .entry(sector)
            .or_default()
            .push((self.order, value));
    }

    pub fn write(&mut self, offset: u64, data: &[u8], sectors_max: usize) {
        let first = (offset / SECTOR_BYTES) as usize;
        for (index, sector) in data
            .chunks(SECTOR_BYTES as usize)
            .enumerate()
            .take(sectors_max)
        {
            self.put(
                first + index,
                u64::from_le_bytes(sector[..8].try_into().unwrap()),
            );
        }
    }

    pub fn zero(&mut self, offset: u64, length: u64, sectors_max: usize) {
        let first = (offset / SECTOR_BYTES) as usize;
        for index in 0..((length / SECTOR_BYTES) as usize).min(sectors_max) {
            if self.cache[first + index] != 0 || self.unflushed.contains_key(&(first + index)) {
                self.put(first + index, 0);
            }
        }
    }

    pub fn read(&self, offset: u64, length: u64) -> Bytes {
        let mut data = vec![0u8; length as usize];
        let first = (offset / SECTOR_BYTES) as usize;
        for (index, sector) in data.chunks_mut(SECTOR_BYTES as usize).enumerate() {
            let value = self.cache[first + index];
            if value != 0 {
                sector[..8].copy_from_slice(&value.to_le_bytes());
            }
        }
        data.into()
    }

    pub fn hash(&self, offset: u64, length: u64) -> [u8; 32] {
        let first = (offset / SECTOR_BYTES) as usize;
        let end = first + (length / SECTOR_BYTES) as usize;
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for value in &self.cache[first..end] {
            hash = (hash ^ value)
                .wrapping_mul(0x0100_0000_01b3)
                .rotate_left(23);
        }
        let mut whole = [0; 32];
        whole[..8].copy_from_slice(&hash.to_le_bytes());
        whole
    }

    /// Runs of blocks that hold something: offset and length in bytes.
    pub fn data_extents(&self) -> Vec<(u64, u64)> {
        let mut extents: Vec<(u64, u64)> = Vec::new();
        for (block, sectors) in self.cache.chunks(8).enumerate() {
            if sectors.iter().any(|value| *value != 0) {
                let offset = block as u64 * 4096;
                let length = sectors.len() as u64 * SECTOR_BYTES;
                match extents.last_mut() {
                    Some(last) if last.0 + last.1 == offset => last.1 += length,
                    _ => extents.push((offset, length)),
                }
            }
        }
        extents
    }

    /// What a flush that begins now will cover.
    pub fn flush_begins(&self) -> u64 {
        self.order
    }

    pub fn flush_ends(&mut self, covered: u64) {
        let durable = &mut self.durable;
        self.unflushed.retain(|sector, writes| {
            if let Some((_, value)) = writes.iter().rev().find(|(order, _)| *order <= covered) {
                durable[*sector] = *value;
            }
            writes.retain(|(order, _)| *order > covered);
            !writes.is_empty()
        });
    }

    pub fn put_activity(&mut self, pages: &[(usize, Page)]) {
        for (index, page) in pages {
            let needed = (index + 1) * PAGE_BYTES;
            if self.activity.len() < needed {
                // A page that was never written reads as nothing hot.
                self.activity.resize(needed, 0);
            }
            self.activity[index * PAGE_BYTES..needed].copy_from_slice(page);
        }
    }

    /// The kernel writes something back on its own.
    pub fn write_back_a_word(&mut self, words: &[u64], chance: &mut Chance) {
        if !words.is_empty() && words.len() == self.words_durable.len() {
            let index = chance.below(words.len() as u64) as usize;
            self.words_durable[index] = words[index];
        }
    }

    pub fn lose_power(&mut self, chance: &mut Chance) {
        let all_or_nothing = chance.below(4);
        for (sector, writes) in std::mem::take(&mut self.unflushed) {
            let pick = match all_or_nothing {
                0 => 0,
                1 => writes.len() as u64,
                _ => chance.below(writes.len() as u64 + 1),
            };
            if pick > 0 {
                self.durable[sector] = writes[pick as usize - 1].1;
            }
        }
        self.cache.clone_from(&self.durable);
        let keep = chance.below(3);
        for (word, durable) in self.words.iter_mut().zip(&self.words_durable) {
            if keep == 0 || keep == 1 && chance.percent(50) {
                *word = *durable;
            }
        }
        self.words_durable.clone_from(&self.words);
    }
}
