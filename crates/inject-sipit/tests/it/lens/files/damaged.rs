//! Lenses and shares that changed on disk after they were written.

use std::{collections::BTreeMap, ops::Range};

use inject_sipit::lens::LensShare;

use super::*;

/// The places of the file's tensors, by their names.
fn places(bytes: &[u8]) -> BTreeMap<String, Range<usize>> {
    let (header, metadata) = SafeTensors::read_metadata(bytes).unwrap();
    let place = |(begin, end)| 8 + header + begin..8 + header + end;
    let tensors = metadata.tensors().into_iter();
    tensors.map(|(name, tensor)| (name, place(tensor.data_offsets))).collect()
}

#[test]
fn a_flipped_bit_of_a_lens_is_noticed_and_the_message_names_the_part() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let flipped = |place: usize, bit: u8| {
        let mut bytes = written.bytes.clone();
        bytes[place] ^= 1 << bit;
        written.load_bytes(&bytes)
    };
    let places = places(&written.bytes);
    assert_eq!(places.len(), 6);
    for (name, place) in &places {
        for place in [place.start, (place.start + place.end) / 2, place.end - 1] {
            match flipped(place, 0).unwrap_err() {
                LensError::File(TensorFileError::Damaged { path, part }) => {
                    assert_eq!((path, part), (written.path.clone(), format!("tensor {name}")));
                }
                other => panic!("byte {place} of {name}: {other}"),
            }
            Lens::load_unverified(written.folder.path(), written.tap, &written.hash, &device).unwrap();
        }
    }
    // The header begins after its length. If the name of its checksum is damaged, the file counts as one of an older version, and
    // all of it is right.
    let elsewhere = tempfile::tempdir().unwrap();
    let data = places.values().map(|place| place.start).min().unwrap();
    let mut by_checksum = 0;
    for place in 8..data {
        match flipped(place, 0) {
            Ok(lens) => {
                let saved = lens.save(elsewhere.path()).unwrap();
                assert!(std::fs::read(saved).unwrap() == written.bytes, "byte {place} was not noticed");
            }
            Err(LensError::File(TensorFileError::Damaged { part, .. })) => {
                by_checksum += usize::from(part == "the header");
            }
            Err(_) => {}
        }
    }
    // Most of the header is texts and checksums, most changes of which leave a lens.
    assert!(by_checksum > (data - 8) / 2, "{by_checksum} of {} bytes", data - 8);
}

#[test]
fn a_lens_of_an_older_version_has_no_checksums_and_is_read() {
    let device = inject_testing::any_device();
    let written = Written::new(&device);
    let (lens, elsewhere) = (written.changed(|_| ()).unwrap(), tempfile::tempdir().unwrap());
    assert!(!contents(&std::fs::read(&written.path).unwrap()).metadata.contains_key("xxh3:header"));
    assert!(std::fs::read(lens.save(elsewhere.path()).unwrap()).unwrap() == written.bytes);
}

#[test]
fn a_damaged_share_of_a_lens_is_refused() {
    let device = inject_testing::any_device();
    let model = model("gpt2", &device);
    let (folder, hash) = (tempfile::tempdir().unwrap(), model.weight_hash().unwrap());
    let share = "1/1".parse().unwrap();
    let made = builder(vec![Tap::Block(2)]).build_share(share, &model.decoder, &hash, &mut silent).unwrap();
    let path = made.save(folder.path()).unwrap();
    assert_eq!(LensShare::load(&path).unwrap().share(), share);
    let bytes = std::fs::read(&path).unwrap();
    let places = places(&bytes);
    assert_eq!(places.len(), 2, "points of first and of later positions");
    for (name, place) in places {
        let mut damaged = bytes.clone();
        damaged[(place.start + place.end) / 2] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let error = LensShare::load(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("tensor {name} does not agree with its checksum")), "{error}");
    }
}
