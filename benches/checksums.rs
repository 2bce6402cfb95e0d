//! The time of a store's checksums, compared with that of writing the store.
//!
//! `hash from memory` is the work of the thread that hashes while the writer writes. `hash` is the same of pieces that are in the
//! processor's cache. `checksums` also reads the file from the system's cache, as the verification of a store does.

use std::{fs, hint::black_box};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use inject_sipit::{
    models::Tap,
    states::{
        durable::{self, Checksum},
        store::{Block, Opened, Positions, StoreSpec, StoreWriter},
    },
};

const TAP: Tap = Tap::FinalNorm;
const D_MODEL: usize = 1024;

/// The bytes of a block of checksums.
const BLOCK: usize = 1 << 20;

/// The bytes that are hashed at a time.
const PIECE: usize = 1 << 20;

/// The prompts of one block. Their states take 64 MiB.
const PROMPTS: usize = 1 << 14;

fn checksums(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prompts: Vec<Vec<u32>> = (0..PROMPTS as u32).map(|prompt| vec![prompt]).collect();
    let states: Vec<f32> = (0..PROMPTS * D_MODEL).map(|place| (place as f32).sin()).collect();
    let mut number = 0;
    let mut begin = || {
        number += 1;
        let path = folder.path().join(number.to_string());
        let spec = StoreSpec::new("bench", "0", vec![TAP], Positions::Last, D_MODEL);
        match StoreWriter::open(&path, spec, &prompts).expect("a new folder") {
            Opened::Writing(writer) => (path, writer),
            Opened::Complete(_) => unreachable!("the folder is new"),
        }
    };
    let mut group = criterion.benchmark_group("64 MiB of states");
    group.throughput(Throughput::Bytes((4 * states.len()) as u64)).sample_size(10);
    group.bench_function("write", |bencher| {
        let write = |(path, mut writer): (_, StoreWriter)| {
            writer.append(&Block::new(PROMPTS, &[(TAP, &states)])).expect("space on disk");
            drop(writer);
            fs::remove_dir_all(path).expect("the folder");
        };
        bencher.iter_batched(&mut begin, write, BatchSize::PerIteration);
    });
    let path = folder.path().join("states");
    let bytes: Vec<u8> = states.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(&path, &bytes).expect("space on disk");
    let mut hash = |name: &str, piece: &dyn Fn(usize) -> usize| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for block in 0..bytes.len() / BLOCK {
                    let mut checksum = Checksum::new();
                    for part in 0..BLOCK / PIECE {
                        let begin = piece(block * BLOCK + part * PIECE);
                        checksum.update(black_box(&bytes[begin..][..PIECE]));
                    }
                    black_box(checksum.value());
                }
            })
        });
    };
    hash("hash", &|_| 0);
    hash("hash from memory", &|begin| begin);
    group.bench_function("checksums", |bencher| {
        bencher.iter(|| durable::fingerprint(&path).expect("the file"))
    });
    group.finish();
}

criterion_group!(benches, checksums);
criterion_main!(benches);
