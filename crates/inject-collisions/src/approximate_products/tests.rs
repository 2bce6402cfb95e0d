//! Approximate products, compared with those in f64.

use std::convert::Infallible;

use inject_states::random::SplitMix;
use proptest::prelude::*;

use super::*;

fn draw(count: usize, numbers: &mut SplitMix) -> Vec<f32> {
    (0..count).map(|_| (numbers.below(2_000_001) as f32 - 1e6) / 1e6).collect()
}

/// Compares the products of every kernel with those in f64, and the kernels with each other bit by bit.
fn check(rows: usize, columns: usize, points: usize, bits: Bits, scale: f32) {
    let all = Kernel::all().into_iter().map(|kernel| products(kernel, rows, columns, points, bits, scale));
    let all: Vec<Vec<u32>> = all.collect();
    assert!(all.iter().all(|products| *products == all[0]), "the kernels differ");
}

/// Returns the bits of the products of one kernel, each checked against the error that its bits allow.
fn products(kernel: Kernel, rows: usize, columns: usize, points: usize, bits: Bits, scale: f32) -> Vec<u32> {
    let mut numbers = SplitMix::seeded((rows * columns + points) as u64);
    let values = draw(rows * columns, &mut numbers);
    let values: Vec<f32> = values.iter().map(|value| value * scale).collect();
    let read = |range: Range<usize>| {
        Ok::<_, Infallible>(values[range.start * columns..range.end * columns].to_vec())
    };
    let Ok(coarse) = QuantisedRows::round_for(kernel, rows, columns, bits, read);
    let exact = draw(points * columns, &mut numbers);
    let added = draw(rows, &mut numbers);
    let coarse = coarse.plus(added.clone());
    let placed = coarse.points(&exact);
    let mut seen = Vec::new();
    for strip in 0..placed.strips() {
        // From the second group on, where there is one.
        let part = LANES.min(rows - 1) / LANES * LANES..rows;
        let room = QuantisedRows::padded(part.len());
        let mut products = vec![f32::NAN; placed.rows_in(strip) * room];
        coarse.multiply(&placed, strip, part.clone(), &mut products);
        for (place, point) in placed.in_strip(strip).enumerate() {
            let point = &exact[point * columns..][..columns];
            for (row, &found) in part.clone().zip(&products[place * room..]) {
                let added = f64::from(added[row]);
                let row = &values[row * columns..][..columns];
                let product: f64 = row.iter().zip(point).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let of_row = match bits {
                    Bits::Eight => row.iter().fold(0.0, |most, value| value.abs().max(most)) / 254.0,
                    Bits::Sixteen => crate::norm(row) as f32 / 32_766.0,
                };
                // Each factor has its error in every coordinate, and the product is rounded three times.
                let root = (columns as f64).sqrt();
                let (of_row, of_point) = (f64::from(of_row) * root, crate::norm(point) / 32_766.0 * root);
                let bound = of_row * (crate::norm(point) + of_point) + crate::norm(row) * of_point;
                let rounding = (product.abs() + added.abs()) * 3e-7;
                assert!(
                    (f64::from(found) - product - added).abs() <= bound * 1.001 + rounding,
                    "{kernel:?}, {rows} rows of {columns}, {points} points, {bits:?}: {found}, expected \
                     {product} + {added} within {bound}"
                );
                seen.push(found.to_bits());
            }
        }
    }
    assert_eq!(seen.len(), points * (rows - LANES.min(rows - 1) / LANES * LANES));
    seen
}

proptest! {
    #[test]
    fn products_are_as_good_as_their_bits_and_the_same_in_every_kernel(
        rows in 1_usize..80, columns in 1_usize..70, points in 1_usize..20, exponent in -20_i32..20,
    ) {
        for bits in [Bits::Eight, Bits::Sixteen] {
            check(rows, columns, points, bits, 2_f32.powi(exponent));
        }
    }
}

#[test]
fn many_rows_are_read_in_several_blocks() {
    check(3 * BLOCK - 5, 3, 9, Bits::Eight, 1.0);
    check(3 * BLOCK - 5, 3, 9, Bits::Sixteen, 1.0);
}

#[test]
fn rows_of_zeros_have_products_of_zero() {
    for (bits, kernel) in [Bits::Eight, Bits::Sixteen].into_iter().zip(Kernel::all().into_iter().cycle()) {
        let read = |range: Range<usize>| Ok::<_, Infallible>(vec![0.0; 3 * range.len()]);
        let Ok(rows) = QuantisedRows::round_for(kernel, 2, 3, bits, read);
        let points = rows.points(&[1.0, 2.0, 3.0]);
        let mut products = vec![f32::NAN; LANES];
        rows.multiply(&points, 0, 0..2, &mut products);
        assert_eq!(products[..2], [0.0; 2]);
    }
}

#[test]
fn an_error_of_reading_is_passed_on() {
    let read = |range: Range<usize>| {
        if range.contains(&2000) { Err("gone") } else { Ok(vec![0.0; range.len()]) }
    };
    for bits in [Bits::Eight, Bits::Sixteen] {
        assert_eq!(QuantisedRows::round_portable(5000, 1, bits, read).unwrap_err(), "gone");
    }
}

#[test]
fn the_accelerated_rows_exist_where_the_kernel_does() {
    let read = |range: Range<usize>| Ok::<_, Infallible>(vec![1.0; range.len()]);
    let Ok(rows) = QuantisedRows::round(5, 1, Bits::Eight, read);
    assert_eq!(rows.map(|rows| rows.kernel), Kernel::accelerated());
}
