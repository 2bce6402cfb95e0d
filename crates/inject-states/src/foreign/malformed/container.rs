//! Files that are missing, of an unknown kind, cut off, or at odds with their header.

use super::*;

#[test]
fn a_missing_file_is_refused() {
    let error = StatesFile::open("/nowhere/states.npy").unwrap_err();
    assert!(matches!(error.problem, ForeignProblem::Io(_)), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    for name in ["a.safetensors", "a.npy", "a.npz.gz", "a.pt"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (send, receive) = std::sync::mpsc::channel();
        // Its reader would wait for ever, and the thread with it.
        std::thread::spawn(move || send.send(StatesFile::open(&path).unwrap_err().problem));
        let problem = receive.recv_timeout(std::time::Duration::from_secs(60)).expect("an error");
        assert!(matches!(problem, ForeignProblem::Io(_)), "{name}: {problem}");
    }
}

#[test]
fn an_unknown_ending_lists_the_known_ones() {
    for name in ["a.txt", "npy", "a", "a.safetensors.gz"] {
        let known = "`.safetensors`, `.npy`, `.npz`, `.pt`";
        match problem(name, b"") {
            ForeignProblem::UnknownEnding { known: found, .. } => assert!(found.starts_with(known)),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_file_shorter_than_its_header_is_refused() {
    refused!("a.safetensors", b"", ForeignProblem::HeaderCutOff { found: 0, expected: 8 });
    refused!("a.safetensors", &[0; 7], ForeignProblem::HeaderCutOff { found: 7, expected: 8 });
    refused!(
        "a.safetensors",
        &[9, 0, 0, 0, 0, 0, 0, 0],
        ForeignProblem::HeaderCutOff { found: 8, expected: 17 }
    );
    refused!("a.npy", b"\x93NUMPY\x01", ForeignProblem::HeaderCutOff { found: 7, expected: 8 });
    refused!("a.npy", b"\x93NUMPY\x01\0\x05", ForeignProblem::HeaderCutOff { found: 9, expected: 10 });
    refused!("a.npy", b"\x93NUMPY\x02\0\x05\0", ForeignProblem::HeaderCutOff { found: 10, expected: 12 });
    refused!("a.npy", b"\x93NUMPY\x01\0\x05\0", ForeignProblem::HeaderCutOff { found: 10, expected: 15 });
}

#[test]
fn a_header_of_absurd_length_is_refused() {
    refused!("a.safetensors", &[0xff; 8], ForeignProblem::HeaderTooLong { found: u64::MAX, .. });
    refused!("a.npy", b"\x93NUMPY\x02\0\0\0\x01\0", ForeignProblem::HeaderTooLong { found: 0x10000, .. });
}

#[test]
fn a_safetensors_header_that_is_not_json_is_refused() {
    refused!("a.safetensors", &safetensors("{", 0), ForeignProblem::SafetensorsHeader { .. });
    refused!("a.safetensors", &safetensors("[]", 0), ForeignProblem::SafetensorsHeader { .. });
    refused!("a.safetensors", b"\x01\0\0\0\0\0\0\0\xff", ForeignProblem::SafetensorsHeader { .. });
}

#[test]
fn a_tensor_that_does_not_fill_its_bytes_is_refused() {
    let header = r#"{"states":{"dtype":"F32","shape":[2,3],"data_offsets":[0,20]}}"#;
    refused!("a.safetensors", &safetensors(header, 20), ForeignProblem::SafetensorsHeader { .. });
}

#[test]
fn a_tensor_that_does_not_begin_where_the_last_one_ends_is_refused() {
    let header = r#"{"states":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]}}"#;
    refused!("a.safetensors", &safetensors(header, 28), ForeignProblem::SafetensorsHeader { .. });
    let header = r#"{"states":{"dtype":"F32","shape":[2,3],"data_offsets":[24,0]}}"#;
    refused!("a.safetensors", &safetensors(header, 24), ForeignProblem::SafetensorsHeader { .. });
}

#[test]
fn a_shape_whose_product_overflows_is_refused() {
    let huge = usize::MAX;
    let header = format!(r#"{{"states":{{"dtype":"F32","shape":[{huge},{huge}],"data_offsets":[0,4]}}}}"#);
    refused!("a.safetensors", &safetensors(&header, 4), ForeignProblem::SafetensorsHeader { .. });
    // Eight tensors that are each the longest there can be.
    let longest = usize::MAX / 8;
    let tensors = (0..8).map(|i| {
        let (from, to) = (i * longest, (i + 1) * longest);
        format!(r#""{i}":{{"dtype":"U8","shape":[{longest}],"data_offsets":[{from},{to}]}}"#)
    });
    let header = format!("{{{}}}", tensors.collect::<Vec<_>>().join(","));
    refused!("a.safetensors", &safetensors(&header, 4), ForeignProblem::Length { .. });
    let axes = vec![huge.to_string(); 9].join(", ");
    for shape in [format!("({huge}, {huge})"), format!("({huge}, 3)"), format!("({axes})")] {
        let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}");
        refused!("a.npy", &npy([1, 0], &header, 24), ForeignProblem::Length { .. });
    }
}

#[test]
fn a_file_longer_or_shorter_than_its_header_says_is_refused() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}";
    for data in [0, 23, 25] {
        refused!(
            "a.safetensors",
            &safetensors(&format!("{{{STATES}}}"), data),
            ForeignProblem::Length { .. }
        );
        refused!("a.npy", &npy([1, 0], header, data), ForeignProblem::Length { .. });
    }
}

#[test]
fn a_file_that_is_not_npy_is_refused() {
    refused!("a.npy", b"\x93NUMPX\x01\0", ForeignProblem::NpyMagic);
    refused!("a.npy", &safetensors(&format!("{{{STATES}}}"), 24), ForeignProblem::NpyMagic);
}

#[test]
fn an_unknown_npy_version_is_refused() {
    for version in [[0, 0], [1, 1], [4, 0]] {
        refused!("a.npy", &npy(version, "{}", 0), ForeignProblem::NpyVersion { .. });
    }
}

#[test]
fn a_malformed_npy_header_is_refused() {
    for version in [[1, 0], [2, 0], [3, 0]] {
        refused!("a.npy", &npy(version, "{}", 0), ForeignProblem::NpyHeader { .. });
    }
}

/// Returns a compressed `.npz` of one array of `rows` times 1024 zeros.
fn zeros(rows: usize) -> Vec<u8> {
    use std::io::Write;

    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 1024)}}");
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("states.npy", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(&npy([1, 0], &header, rows * 4096)).unwrap();
    archive.finish().unwrap().into_inner()
}

#[test]
fn a_compressed_array_of_more_than_the_given_memory_is_refused_before_it_is_unpacked() {
    let content = zeros(4096);
    assert!(content.len() < 1 << 17, "16 MiB of zeros in {} bytes", content.len());
    let (_folder, path) = file("a.npz", &content);
    let open = |bytes| StatesFile::open_with(&path, &ReadOptions::new().most_unpacked(bytes));
    assert_eq!(open(17 << 20).unwrap().rows(), 4096);
    let problem = open(16 << 20).unwrap_err().problem;
    assert!(matches!(problem, ForeignProblem::UnpacksToTooMuch { most } if most == 16 << 20), "{problem}");
    // The same in a file that is packed as a whole.
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&zeros(512)).unwrap();
    let (_folder, path) = file("a.npz.gz", &packed.finish().unwrap());
    let open = |bytes| StatesFile::open_with(&path, &ReadOptions::new().most_unpacked(bytes));
    assert!(open(3 << 20).is_ok());
    assert!(
        matches!(open(1 << 20).unwrap_err().problem, ForeignProblem::UnpacksToTooMuch { most } if most == 1 << 20)
    );
}

#[test]
fn an_entry_of_another_length_than_announced_is_refused() {
    let content = zeros(4);
    // The length before compression, in the list of entries at the end.
    let list = content.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    let announced = u32::from_le_bytes(content[list + 24..list + 28].try_into().unwrap());
    for other in [announced - 1, announced + 1] {
        let mut content = content.clone();
        content[list + 24..list + 28].copy_from_slice(&other.to_le_bytes());
        // The reader of ZIP files refuses what is longer than announced by itself.
        refused!("a.npz", &content, ForeignProblem::EntryLength { .. } | ForeignProblem::Io(_));
    }
}

/// A file of PyTorch of one storage of six numbers: `hidden_states` and `other`, tensors of that many rows of three.
fn torch(hidden_states: u8, other: u8) -> Vec<u8> {
    use std::io::Write;

    let tensor = |rows: u8| {
        let begin = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQK\0K";
        [&begin[..], &[rows], b"K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"].concat()
    };
    let pickle = [
        &b"\x80\x02}(X\x0d\0\0\0hidden_states"[..],
        &tensor(hidden_states),
        b"X\x05\0\0\0other",
        &tensor(other),
        b"u.",
    ];
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in [("archive/data.pkl", &pickle.concat()[..]), ("archive/data/0", &[1; 24])] {
        let stored =
            zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        archive.start_file(name, stored).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn a_tensor_that_reaches_beyond_its_storage_is_refused_if_it_is_read() {
    refused!("a.pt", &torch(3, 2), ForeignProblem::Storage { .. });
    let (_folder, path) = file("a.pt", &torch(2, 3));
    assert_eq!(StatesFile::open(&path).unwrap().rows(), 2);
    let other = StatesFile::open_with(&path, &ReadOptions::new().tensor("other"));
    assert!(matches!(other.unwrap_err().problem, ForeignProblem::Storage { tensor } if tensor == "other"));
}

#[test]
fn a_damaged_file_of_the_name_of_a_sidecar_is_named_and_other_json_is_none() {
    let content = safetensors(&format!("{{{STATES}}}"), 24);
    let (_folder, path) = file("a.safetensors", &content);
    let sidecar = path.with_extension("json");
    let open_beside = |text: &str| {
        fs::write(&sidecar, text).unwrap();
        StatesFile::open(&path)
    };
    for other in [
        "[]",
        "3",
        " [\"seq_lens\"]",
        "{}",
        r#"{"text": ["a"]}"#,
        r#"{"seq_lens": [2], "hs_mode": "all_tokens"}"#,
    ] {
        open_beside(other).unwrap();
    }
    for damaged in ["", "{\"seq_lens\": [2", "{\"seq_lens\": \"2\"}", "{\"hs_mode\": 2}", "[2", "\0"] {
        match open_beside(damaged).unwrap_err().problem {
            ForeignProblem::Sidecar { path, source: SidecarProblem::Json(_) } => assert_eq!(path, sidecar),
            other => panic!("{damaged:?}: {other}"),
        }
    }
    fs::File::create(&sidecar).unwrap().set_len(1 << 40).unwrap();
    let problem = StatesFile::open(&path).unwrap_err().problem;
    assert!(matches!(problem, ForeignProblem::Sidecar { source: SidecarProblem::TooLong { .. }, .. }));
}
