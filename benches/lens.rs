//! The time to make a lens, and to read a prompt with it.
//!
//! - `build`: two prefixes and the first position, at every tap of a small model of 2,048 tokens at once.
//! - `read`: `model/tap/positions`, the 8 most likely tokens of the whole vocabulary at every position, with random weights and a
//!   lens of as many coordinates as such a model determines.

#![allow(missing_docs, reason = "the macros of criterion define public functions")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use inject_benches::{Shape, bundled, device, ids, random, states_of};
use inject_sipit::{
    Lens,
    collisions::Arithmetic,
    lens::{FirstPosition, LensBuilder},
    models::{Decoder, Tap, silent},
    sources::Vocabulary,
};

const LENGTHS: [usize; 2] = [64, 512];
const LIKELIEST: usize = 8;

fn builder(taps: Vec<Tap>, vocab_size: usize) -> LensBuilder {
    let text = (0..40).map(|prompt| ids(prompt + 32, vocab_size).split_off(prompt));
    let prefixes = vec![ids(12, vocab_size), ids(24, vocab_size).split_off(12)];
    LensBuilder::new(taps, prefixes, text.collect(), FirstPosition::Any)
}

fn make(builder: &LensBuilder, decoder: &Decoder) -> Vec<Lens> {
    builder.build(decoder, "of these weights", &mut silent).expect("text enough")
}

fn build(criterion: &mut Criterion) {
    let decoder = random(&bundled(), &device());
    let vocab_size = decoder.config().vocab_size;
    let builder = builder(Tap::all(decoder.config().n_layers()), vocab_size);
    let mut group = criterion.benchmark_group("build");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(builder.cost(&decoder).flop as u64));
    group.bench_function(BenchmarkId::new("bundled/all taps", vocab_size), |bencher| {
        bencher.iter(|| make(&builder, &decoder));
    });
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let decoder = random(&Shape::SmolLm2.config(), &device());
    let vocab_size = decoder.config().vocab_size;
    let tap = Tap::Block(1);
    let lens = make(&builder(vec![tap], vocab_size), &decoder).remove(0);
    let vocabulary = Vocabulary::new(&decoder, Arithmetic::I16OnProcessor);
    let mut group = criterion.benchmark_group("read");
    for length in LENGTHS {
        let target = states_of(&decoder, &ids(length, vocab_size), tap);
        let label = BenchmarkId::new(format!("smollm2-135m/{tap}/rank {}", lens.info().rank), length);
        group.bench_function(label, |bencher| {
            bencher.iter(|| lens.read(&vocabulary, &target, LIKELIEST).expect("a lens of this model"));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(5));
    targets = build, read
}
criterion_main!(benches);
