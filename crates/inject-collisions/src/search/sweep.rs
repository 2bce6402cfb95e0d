//! The scan of all pairs, block by block.

use super::{products::Tile, question::Question, tile::Scan};
use crate::error::CollisionError;

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
        scan,
        tiles_at_once,
        waiting: Vec::new(),
    };
    // Each block is first compared with itself. Near rows share a block, so the radii are small from then on.
    for block in 0..blocks {
        sweep.push(question, Tile { row_block: block, column_block: block })?;
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

struct Sweep<'a> {
    scan: Scan<'a>,
    /// The largest radius of the rows of each block.
    farthest: Vec<f64>,
    errors: Vec<f64>,
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

    /// Returns whether any pair of the two blocks can matter to the question.
    fn matters(&self, tile: Tile) -> bool {
        let Tile { row_block, column_block } = tile;
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
