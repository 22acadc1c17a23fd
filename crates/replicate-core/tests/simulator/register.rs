//! What a read may return: for each sector the writes that clients made, and when.

use std::collections::BTreeSet;

const NEVER: u64 = u64::MAX;

#[derive(Clone, Debug)]
struct Written {
    value: u64,
    issued: u64,
    replied: u64,
    durable: bool,
    /// `false`: a power loss may have undone it.
    certain: bool,
}

/// All sectors of the volume as clients know them. Times are a count of steps.
pub struct Registers {
    sectors: Vec<Vec<Written>>,
    active: BTreeSet<usize>,
}

impl Registers {
    pub fn new(initial: &[u64]) -> Self {
        Self {
            sectors: initial
                .iter()
                .map(|value| {
                    vec![Written {
                        value: *value,
                        issued: 0,
                        replied: 0,
                        durable: true,
                        certain: true,
                    }]
                })
                .collect(),
            active: BTreeSet::new(),
        }
    }

    pub fn issue(&mut self, sector: usize, value: u64, now: u64) {
        self.active.insert(sector);
        self.sectors[sector].push(Written {
            value,
            issued: now,
            replied: NEVER,
            durable: false,
            certain: true,
        });
    }

    pub fn reply(
        &mut self,
        sector: usize,
        value: u64,
        issued: u64,
        now: u64,
        durable: bool,
        oldest: u64,
    ) {
        let written = &mut self.sectors[sector];
        for write in written.iter_mut() {
            if write.value == value && write.issued == issued {
                write.replied = now;
                write.durable = durable;
            }
        }
        if written.len() > 12 {
            let all = written.clone();
            written.retain(|write| {
                !all.iter().any(|later| {
                    later.durable
                        && later.certain
                        && later.replied < oldest
                        && write.replied < later.issued
                })
            });
        }
    }

    /// A flush that was asked for at `issued` was replied to.
    pub fn flushed(&mut self, issued: u64) {
        for sector in &self.active {
            for write in &mut self.sectors[*sector] {
                write.durable |= write.replied < issued;
            }
        }
    }

    /// The primary lost power: what was not flushed may be gone.
    pub fn power_lost(&mut self, now: u64) {
        for sector in &self.active {
            for write in &mut self.sectors[*sector] {
                if write.replied == NEVER {
                    // Its reply may be on its way already.
                    write.certain = false;
                } else if !write.durable {
                    write.replied = now;
                    write.certain = false;
                    write.durable = true;
                }
            }
        }
    }

    /// A copy took over that may have been left behind: what it holds is all there is.
    pub fn forget(&mut self, now: u64, image: &[u64]) {
        for (sector, written) in self.sectors.iter_mut().enumerate() {
            written.retain(|write| write.replied == NEVER);
            written.push(Written {
                value: image[sector],
                issued: now,
                replied: now,
                durable: true,
                certain: false,
            });
        }
    }

    /// May a read that began at `began` return `value`?
    pub fn allows(&self, sector: usize, value: u64, began: u64) -> bool {
        let written = &self.sectors[sector];
        written.iter().any(|write| {
            write.value == value
                && !written.iter().any(|later| {
                    later.certain && write.replied < later.issued && later.replied < began
                })
        })
    }

    /// Is `value` not older than a write issued at `issued`?
    pub fn is_no_older(&self, sector: usize, value: u64, issued: u64) -> bool {
        self.sectors[sector]
            .iter()
            .any(|write| write.value == value && write.replied >= issued)
    }

    /// When the newest write seen in `image` was issued.
    pub fn newest_issue(&self, image: &[u64]) -> u64 {
        self.active
            .iter()
            .filter_map(|sector| {
                self.sectors[*sector]
                    .iter()
                    .find(|write| write.value == image[*sector] && write.value != 0)
                    .map(|write| write.issued)
            })
            .max()
            .unwrap_or(0)
    }

    pub fn explain(&self, sector: usize) -> String {
        format!("{:?}", self.sectors[sector])
    }

    pub fn active(&self) -> impl Iterator<Item = usize> + '_ {
        self.active.iter().copied()
    }
}
