//! The scan of all pairs, block by block.

use super::{products::Tile, question::Question, tile::Scan};
use crate::{error::CollisionError, pairs::Pairs};

/// Answers a question about all pairs. Pairs of blocks that are too far from each other are skipped. `progress` receives the
/// finished share of the blocks.
pub(super) fn sweep<Q: Question>(
    scan: Scan<'_>,
    question: &mut Q,
    tiles_at_once: usize,
    progress: &mut dyn FnMut(f64),
) -> Result<(), CollisionError> {
    let blocks = scan.index.blocks();
    let mut sweep = Sweep {
        farthest: vec![f64::INFINITY; blocks],
        errors: (0..blocks).map(|block| scan.index.error(block)).collect(),
        sides: (0..blocks).map(|block| side(scan, block)).collect(),
        scan,
        tiles_at_once,
        waiting: Vec::new(),
    };
    // Each block is first compared with itself. Near rows share a block, so the radii are small from then on.
    for block in 0..blocks {
        sweep.push(question, Tile { row_block: block, column_block: block })?;
    }
    // Between two bands no such tile has a pair. There each block with the nearest one of the other band comes first. These tiles come
    // again below, which a question that counts pairs cannot have.
    for block in (0..blocks).filter(|_| Q::NARROWS) {
        if let Some(other) = sweep.nearest(block) {
            let (row_block, column_block) = (block.max(other), block.min(other));
            sweep.push(question, Tile { row_block, column_block })?;
        }
    }
    sweep.flush(question)?;
    for column_block in 0..blocks {
        for row_block in column_block + 1..blocks {
            sweep.push(question, Tile { row_block, column_block })?;
        }
        let share =
            (2 * blocks - column_block) as f64 * (column_block + 1) as f64 / (blocks * (blocks + 1)) as f64;
        progress(share);
    }
    sweep.flush(question)
}

/// One of two bands of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

/// The band of all rows of a block.
fn side(scan: Scan<'_>, block: usize) -> Option<Side> {
    let Pairs::Between(first) = scan.pairs else { return None };
    let mut rows = scan.index.order[scan.index.places(block)].iter();
    let of = |row: &u32| if (*row as usize) < *first { Side::First } else { Side::Second };
    let side = of(rows.next()?);
    rows.all(|row| of(row) == side).then_some(side)
}

struct Sweep<'a> {
    scan: Scan<'a>,
    /// The largest radius of the rows of each block.
    farthest: Vec<f64>,
    errors: Vec<f64>,
    /// The band that all rows of each block are of, if the pairs are those between two bands.
    sides: Vec<Option<Side>>,
    tiles_at_once: usize,
    waiting: Vec<Tile>,
}

impl Sweep<'_> {
    fn push<Q: Question>(&mut self, question: &mut Q, tile: Tile) -> Result<(), CollisionError> {
        if self.matters(tile) {
            self.waiting.push(tile);
        }
        if self.waiting.len() >= self.tiles_at_once { self.flush(question) } else { Ok(()) }
    }

    /// Whether all pairs of the two blocks are within one band, and do not count.
    fn within_a_band(&self, a: usize, b: usize) -> bool {
        self.sides[a].is_some() && self.sides[a] == self.sides[b]
    }

    /// The block of the other band that is nearest to this one, if the pairs are those between two bands.
    fn nearest(&self, block: usize) -> Option<usize> {
        self.sides[block]?;
        let enclosures = &self.scan.index.enclosures;
        let others = (0..self.sides.len()).filter(|&other| !self.within_a_band(block, other));
        let gap = |other: &usize| enclosures[block].gap(&enclosures[*other]);
        others.min_by(|a, b| gap(a).total_cmp(&gap(b)))
    }

    /// Whether any pair of the two blocks can matter to the question.
    fn matters(&self, tile: Tile) -> bool {
        let Tile { row_block, column_block } = tile;
        if self.within_a_band(row_block, column_block) {
            return false;
        }
        let radius = self.farthest[row_block].max(self.farthest[column_block]);
        let reach = self.scan.reach(radius, self.errors[row_block] + self.errors[column_block]);
        let enclosures = &self.scan.index.enclosures;
        let gap = enclosures[row_block].gap(&enclosures[column_block]);
        gap * gap * (1.0 - 1e-12) <= reach
    }

    fn flush<Q: Question>(&mut self, question: &mut Q) -> Result<(), CollisionError> {
        let tiles = std::mem::take(&mut self.waiting);
        if tiles.is_empty() {
            return Ok(());
        }
        let index = self.scan.index;
        let parts = index.products.each(&tiles, |tile, products| self.scan.tile(question, tile, products))?;
        parts.into_iter().for_each(|(part, computed)| question.merge(part, computed));
        let mut touched: Vec<usize> =
            tiles.iter().flat_map(|tile| [tile.row_block, tile.column_block]).collect();
        touched.sort_unstable();
        touched.dedup();
        for block in touched {
            let rows = &index.order[index.places(block)];
            let radius = rows.iter().map(|&row| question.radius(row as usize));
            self.farthest[block] = radius.fold(f64::NEG_INFINITY, f64::max);
        }
        Ok(())
    }
}
