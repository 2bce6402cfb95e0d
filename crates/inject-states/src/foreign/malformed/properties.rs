//! Files that nobody would write.

use std::fs;

use ndarray::Array2;
use proptest::prelude::*;

use super::{
    super::{Axes, ColumnChoice, ReadOptions, StatesFile, write_npy},
    file, npy, safetensors, with_ids,
};

/// Reads everything there is to read, either way round; any result will do.
fn read_all(name: &str, content: &[u8]) {
    let (_folder, path) = file(name, content);
    let openings = [
        StatesFile::open(&path),
        StatesFile::open_with(&path, &ReadOptions::new().axes(Axes::TokenTap)),
        StatesFile::open_with(&path, &ReadOptions::new().axes(Axes::TapToken)),
    ];
    for mut states in openings.into_iter().flatten() {
        for column in 0..states.columns().min(8) {
            let _ = states.column(ColumnChoice::Index(column));
        }
    }
}

/// A valid file of each kind, to be damaged.
fn valid(kind: usize) -> (&'static str, Vec<u8>) {
    let header = format!(r#"{{"__metadata__":{{"taps":"block-1"}},{}"#, &with_ids("I16", "[2]", 28)[1..]);
    match kind {
        0 => ("a.safetensors", safetensors(&header, 28)),
        1 => ("a.npy", npy([1, 0], "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24)),
        _ => ("a.npy", npy([3, 0], "{'descr': '>f2', 'fortran_order': True, 'shape': (2, 1, 6), }\n", 24)),
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all("a.safetensors", &content);
        read_all("a.npy", &content);
        read_all("a.npy", &[b"\x93NUMPY\x01\0", &content[..]].concat());
        let length = (content.len() as u64).to_le_bytes();
        read_all("a.safetensors", &[&length, &content[..]].concat());
    }

    #[test]
    fn no_damage_to_a_valid_file_makes_the_reader_panic(
        kind in 0..3usize,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..6),
    ) {
        let (name, mut content) = valid(kind);
        for (place, byte, edit) in edits {
            let place = place.index(content.len());
            match edit {
                0 => content[place] = byte,
                // Other digits, which make other shapes and offsets.
                1 => content[place] = b'0' + byte % 10,
                2 => content.insert(place, b'0' + byte % 10),
                _ if content.len() > 1 => drop(content.remove(place)),
                _ => {}
            }
        }
        read_all(name, &content);
    }

    #[test]
    fn no_shape_makes_the_reader_panic(
        axes in prop::collection::vec(prop_oneof![0..4usize, any::<usize>()], 0..5),
        fortran: bool,
        data in 0..100usize,
    ) {
        let list: Vec<String> = axes.iter().map(usize::to_string).collect();
        let list = list.join(",");
        let order = if fortran { "True" } else { "False" };
        let header = format!("{{'descr':'<f2','fortran_order':{order},'shape':({list},)}}");
        read_all("a.npy", &npy([1, 0], &header, data));
        let end = axes.iter().fold(2usize, |product, &axis| product.wrapping_mul(axis));
        let header = format!(r#"{{"states":{{"dtype":"F16","shape":[{list}],"data_offsets":[0,{end}]}}}}"#);
        read_all("a.safetensors", &safetensors(&header, data));
    }

    #[test]
    fn what_is_written_is_read_back(rows in 1..9usize, d_model in 1..9usize, seed: u32, transposed: bool) {
        let value = |i: usize| f32::from_bits(seed.wrapping_mul(i as u32 + 1) & 0xbfff_ffff);
        let states = Array2::from_shape_fn((rows, d_model), |(row, j)| value(row * d_model + j));
        let states = if transposed { states.reversed_axes() } else { states };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write_npy(&path, states.view()).unwrap();
        let start = fs::metadata(&path).unwrap().len() - 4 * states.len() as u64;
        prop_assert_eq!(start % 64, 0);
        let read = StatesFile::open(&path).unwrap().column(ColumnChoice::Only).unwrap();
        prop_assert_eq!(read.into_array(), states.mapv(f64::from));
    }
}
