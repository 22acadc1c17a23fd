//! Random choices that a seed repeats exactly.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Below `limit`, which is positive.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    /// A delay that is mostly short and sometimes long, µs.
    pub fn delay_us(&mut self, usual_us: u64) -> u64 {
        match self.below(20) {
            0 => self.between(usual_us, usual_us * 20),
            1..=5 => self.between(usual_us / 4, usual_us * 3),
            _ => self.between(1, usual_us),
        }
    }
}
