//! Names of the files of a log (<https://c2sp.org/tlog-tiles>).
//!
//! `tile/<level>/<index>[.p/<width>]` holds the hashes of one tile and
//! `tile/entries/<index>[.p/<width>]` the entries below it. The index is written in groups of
//! three digits, all but the last with an `x`: `x001/x234/067`.

use std::fmt;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Levels of tiles that a log of 2^64 entries has.
pub const LEVEL_COUNT: u8 = 8;

/// The signed checkpoint.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// The public key of the log, kept beside it for convenience; nobody should trust this copy.
pub const PUBLIC_KEY_FILE: &str = "public.key";

/// What a file below `tile/` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Entries, each after its length in two bytes.
    Entries,
    /// Hashes of one level of tiles.
    Hashes(u8),
}

/// The coordinates of one file below `tile/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// Entries or hashes, and of which level.
    pub kind: TileKind,
    /// Number of the tile within its level.
    pub index: u64,
    /// Hashes or entries in it, 1 to [`TILE_WIDTH`].
    pub width: u64,
}

// === impl TilePath ===

impl TilePath {
    /// Reads a path relative to the log's root; only the exact form is accepted.
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("tile/")?;
        let (kind, rest) = rest.split_once('/')?;
        let kind = match kind {
            "entries" => TileKind::Entries,
            level => TileKind::Hashes(level.parse().ok().filter(|level| *level < LEVEL_COUNT)?),
        };
        let (digits, width) = match rest.split_once(".p/") {
            Some((digits, width)) => (
                digits,
                width
                    .parse()
                    .ok()
                    .filter(|width| (1..TILE_WIDTH).contains(width))?,
            ),
            None => (rest, TILE_WIDTH),
        };
        let mut index = 0_u64;
        for group in digits.split('/') {
            let number: u64 = group.trim_start_matches('x').parse().ok()?;
            index = index.checked_mul(1000)?.checked_add(number)?;
        }
        // No log of 2^64 entries has a tile beyond this; products with the width stay in range.
        index.checked_mul(TILE_WIDTH)?;
        let parsed = Self { kind, index, width };
        (parsed.to_string() == path).then_some(parsed)
    }

    /// The full tile of the same coordinates.
    pub fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Tree level of its hashes in tiles: 0 for entries.
    pub fn level(self) -> u8 {
        match self.kind {
            TileKind::Entries => 0,
            TileKind::Hashes(level) => level,
        }
    }

    /// The first entry below this tile.
    pub fn first_entry(self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH) << (8 * u32::from(self.level()))
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => formatter.write_str("tile/entries/")?,
            TileKind::Hashes(level) => write!(formatter, "tile/{level}/")?,
        }
        let mut digits = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            digits = format!("x{:03}/{digits}", rest % 1000);
            rest /= 1000;
        }
        formatter.write_str(&digits)?;
        if self.width < TILE_WIDTH {
            write!(formatter, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Hashes that level `level` of tiles has in a log of `size` entries.
pub fn hash_count(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// The tile or bundle at `index`, as wide as a log of `size` entries makes it.
pub fn tile_at(kind: TileKind, index: u64, size: u64) -> Option<TilePath> {
    let level = match kind {
        TileKind::Entries => 0,
        TileKind::Hashes(level) => level,
    };
    let rest = hash_count(level, size).checked_sub(index.checked_mul(TILE_WIDTH)?)?;
    (rest > 0).then(|| TilePath {
        kind,
        index,
        width: rest.min(TILE_WIDTH),
    })
}

/// The partial tile at the right edge of a level, if the level does not end with a full one.
pub fn edge_tile(kind: TileKind, size: u64) -> Option<TilePath> {
    let level = match kind {
        TileKind::Entries => 0,
        TileKind::Hashes(level) => level,
    };
    let count = hash_count(level, size);
    let width = count % TILE_WIDTH;
    (width > 0).then_some(TilePath {
        kind,
        index: count / TILE_WIDTH,
        width,
    })
}

/// Entries and the hashes of every level.
pub fn kinds() -> impl Iterator<Item = TileKind> {
    std::iter::once(TileKind::Entries).chain((0..LEVEL_COUNT).map(TileKind::Hashes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        let tile = TilePath {
            kind: TileKind::Hashes(0),
            index: 1_234_067,
            width: 256,
        };
        assert_eq!(tile.to_string(), "tile/0/x001/x234/067");
        let partial = TilePath {
            kind: TileKind::Entries,
            index: 5,
            width: 8,
        };
        assert_eq!(partial.to_string(), "tile/entries/005.p/8");
        for tile in [tile, partial] {
            assert_eq!(TilePath::parse(&tile.to_string()), Some(tile));
        }
    }

    #[test]
    fn only_the_exact_form_is_accepted() {
        for path in [
            "tile/0/5",
            "tile/0/0005",
            "tile/00/005",
            "tile/8/000",
            "tile/0/x000/005",
            "tile/0/005.p/0",
            "tile/0/005.p/256",
            "tile/0/005.p/08",
            "tile/data/005",
            "checkpoint",
            "tile/0/001/002",
            "tile/0/x001",
            "tile/0/",
            "tile/entries/000.p/1.p/2",
        ] {
            assert_eq!(TilePath::parse(path), None, "{path}");
        }
    }

    #[test]
    fn widths_follow_the_size() {
        assert_eq!(
            edge_tile(TileKind::Hashes(0), 600)
                .map(|t| t.to_string())
                .as_deref(),
            Some("tile/0/002.p/88")
        );
        assert_eq!(
            edge_tile(TileKind::Hashes(1), 600)
                .map(|t| t.to_string())
                .as_deref(),
            Some("tile/1/000.p/2")
        );
        assert_eq!(edge_tile(TileKind::Entries, 512), None);
        assert_eq!(tile_at(TileKind::Entries, 2, 512), None);
        assert_eq!(
            tile_at(TileKind::Entries, 1, 512).map(|t| t.width),
            Some(256)
        );
    }
}
