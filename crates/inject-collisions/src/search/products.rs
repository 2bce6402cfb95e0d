//! Products of blocks of rows, by the device in f32 or by the processor in integers.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::{
    bounds::{UNIT_F32, gamma},
    grid::Grid,
};
use crate::{
    error::CollisionError,
    integer_products::{Kernel, STRIP},
    models::{ModelError, host},
    tuning::TILES_A_CALL,
};

/// Two blocks of rows. The matrix of their products has a row for each row of the first and a column for each row of the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) row_block: usize,
    pub(super) column_block: usize,
}

/// Rows in blocks of equal size, on the device or processor that multiplies them.
#[derive(Debug)]
pub(super) enum Products {
    /// On a device, in f32.
    Device(Box<DeviceProducts>),
    /// On the processor, in integers.
    Processor(Grid),
}

impl Products {
    /// Calls `look` with the products of every tile, on all threads. Returns the results in the order of the tiles.
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    pub(super) fn each<R: Send>(
        &self,
        tiles: &[Tile],
        look: impl Fn(Tile, TileProducts<'_>) -> R + Sync,
    ) -> Result<Vec<R>, CollisionError> {
        match self {
            Products::Device(device) => {
                device.each(tiles, |tile, products| look(tile, TileProducts::Known(products)))
            }
            Products::Processor(grid) => {
                Ok(tiles.par_iter().map(|&tile| look(tile, TileProducts::Computed(grid, tile))).collect())
            }
        }
    }
}

/// The device and the kernel that multiply rows.
#[derive(Clone, Debug)]
pub(super) struct Multiplier {
    pub(super) device: Device,
    /// The kernel, if the processor multiplies instead of the device.
    pub(super) kernel: Option<Kernel>,
}

/// The products of one tile.
#[derive(Clone, Copy, Debug)]
pub(super) enum TileProducts<'a> {
    /// All products: [row of the `row_block`, row of the `column_block`].
    Known(&'a [f32]),
    /// Products that are computed a few rows at a time when they are needed, so that they stay in the L1 cache.
    Computed(&'a Grid, Tile),
}

impl TileProducts<'_> {
    /// Calls `look` for each row of the `row_block`, with its products with all rows of the `column_block`.
    #[inline(always)]
    pub(super) fn rows(self, block: usize, mut look: impl FnMut(usize, &[f32])) {
        // Loops instead of iterator methods, because closures passed to those are not compiled for the caller's instructions.
        match self {
            TileProducts::Known(products) => {
                for (row, products) in products.chunks_exact(block).enumerate() {
                    look(row, products);
                }
            }
            TileProducts::Computed(grid, tile) => {
                let mut products = vec![0.0; STRIP * block];
                for strip in 0..block / STRIP {
                    grid.strip(tile, strip, &mut products);
                    for (row, products) in products.chunks_exact(block).enumerate() {
                        look(strip * STRIP + row, products);
                    }
                }
            }
        }
    }
}

/// Rows in blocks of equal size, on a device.
#[derive(Debug)]
pub(super) struct DeviceProducts {
    /// The rows, block by block. Shape `[block, row, coordinate]`.
    blocks: Tensor<3>,
    device: Device,
}

impl DeviceProducts {
    /// Copies rows to the device.
    ///
    /// # Shapes
    ///
    /// `values`: [block, row, coordinate].
    pub(super) fn new(values: Vec<f32>, shape: [usize; 3], device: &Device) -> Self {
        let blocks = Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
        DeviceProducts { blocks, device: device.clone() }
    }

    /// Calls `look` with the products of every tile: [row of the `row_block`, row of the `column_block`]. While one thread runs
    /// `look`, another has the device multiply.
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    fn each<R: Send>(
        &self,
        tiles: &[Tile],
        look: impl Fn(Tile, &[f32]) -> R + Sync,
    ) -> Result<Vec<R>, CollisionError> {
        let size = self.blocks.dims()[1].pow(2);
        let look_at = |tiles: &[Tile]| -> Result<Vec<R>, CollisionError> {
            let data = self.of(tiles)?;
            let products = values(&data)?.par_chunks(size);
            Ok(tiles.par_iter().zip(products).map(|(&tile, products)| look(tile, products)).collect())
        };
        let calls: Result<Vec<Vec<R>>, _> = tiles.par_chunks(TILES_A_CALL).map(look_at).collect();
        Ok(calls?.into_iter().flatten().collect())
    }

    /// Returns the products of the rows of each tile, computed on the device and read in one transfer.
    ///
    /// # Shapes
    ///
    /// [tile, row of its `row_block`, row of its `column_block`].
    ///
    /// # Errors
    ///
    /// [`CollisionError::Device`].
    fn of(&self, tiles: &[Tile]) -> Result<TensorData, CollisionError> {
        let rows: Vec<usize> = tiles.iter().map(|tile| tile.row_block).collect();
        let mut columns: Vec<usize> = tiles.iter().map(|tile| tile.column_block).collect();
        columns.dedup();
        // The usual case is one block with many others, which needs only one copy of that block.
        if columns.len() > 1 {
            columns = tiles.iter().map(|tile| tile.column_block).collect();
        }
        let rows = self.select(&rows); // [tile, row, coordinate]
        let columns = self.select(&columns).swap_dims(1, 2); // [tile or 1, coordinate, column]
        host::read(rows.matmul(columns)).map_err(|error| match error {
            ModelError::Device { reason } => CollisionError::Device { reason },
            other => other.into(),
        })
    }

    /// Selects blocks: a view if they are consecutive, otherwise a copy on the device.
    fn select(&self, blocks: &[usize]) -> Tensor<3> {
        let first = blocks[0];
        if blocks.iter().copied().eq(first..first + blocks.len()) {
            return self.blocks.clone().narrow(0, first, blocks.len());
        }
        let indices: Vec<i64> = blocks.iter().map(|&block| block as i64).collect();
        let indices = TensorData::new(indices, [blocks.len()]);
        self.blocks.clone().select(0, Tensor::<1, Int>::from_data(indices, &self.device))
    }
}

/// Checks that the device multiplies f32 numbers in f32. Some devices use fewer digits by default.
///
/// # Errors
///
/// [`CollisionError::InexactDevice`], [`CollisionError::Device`].
pub(super) fn check(device: &Device) -> Result<(), CollisionError> {
    const SIZE: usize = 64;
    // A value with twelve bits after the leading one, which bf16, f16 and TF32 cannot represent.
    let value = 1.0 + 1.0 / 4096.0_f32;
    let products = DeviceProducts::new(vec![value; SIZE * SIZE], [1, SIZE, SIZE], device);
    let data = products.of(&[Tile { row_block: 0, column_block: 0 }])?;
    let expected = SIZE as f64 * f64::from(value).powi(2);
    let allowed = gamma(SIZE, UNIT_F32);
    let off = |found: f32| (f64::from(found) / expected - 1.0).abs();
    let found = values(&data)?.iter().map(|&found| off(found)).fold(0.0, f64::max);
    // The comparison is written so that NaN is an error too.
    if found <= allowed { Ok(()) } else { Err(CollisionError::InexactDevice { found, allowed }) }
}

/// Returns the values of a tensor that was read from the device.
fn values(data: &TensorData) -> Result<&[f32], CollisionError> {
    data.as_slice::<f32>().map_err(|error| CollisionError::Device { reason: format!("{error:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_has_the_products_of_its_rows() {
        let (blocks, size, width) = (5, 3, 2);
        let rows: Vec<f32> = (0..blocks * size * width).map(|value| (value * value % 17) as f32).collect();
        let row = |block: usize, row: usize| &rows[(block * size + row) * width..][..width];
        let tile = |(row_block, column_block)| Tile { row_block, column_block };
        for device in inject_testing::compiled() {
            check(&device).unwrap();
            let products = DeviceProducts::new(rows.clone(), [blocks, size, width], &device);
            for tiles in [
                vec![(1, 1)],
                vec![(1, 0), (2, 0), (3, 0)],
                vec![(4, 1), (2, 1)],
                vec![(0, 0), (3, 1), (1, 1)],
            ] {
                let tiles: Vec<Tile> = tiles.into_iter().map(tile).collect();
                let data = products.of(&tiles).unwrap();
                let found = values(&data).unwrap();
                for (place, &found) in found.iter().enumerate() {
                    let (tile, a, b) = (tiles[place / 9], place / 3 % 3, place % 3);
                    let pairs = row(tile.row_block, a).iter().zip(row(tile.column_block, b));
                    assert_eq!(found, pairs.map(|(a, b)| a * b).sum::<f32>());
                }
            }
        }
    }
}
