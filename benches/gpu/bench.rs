//! The rows that `gpu/run.sh` measures: one program, because each one carried to the machine weighs 13 MB.
//!
//! ```text
//! gpu --shapes gpt2,gemma-3-1b --formats f32,bf16 --questions forward,step,candidates
//! gpu --shapes llama-3.1-8b --formats bf16 --questions scan --positions 10 --warm-up 20
//! gpu --formats f32,bf16 --questions gemm --product 8192
//! gpu --shapes gpt2 --questions memory --batches 10000
//! gpu --questions neighbours --rows 100000 --width 768
//! gpu --questions parity --formats f32,f64
//! ```
//!
//! Weights are random, drawn on the device. A shape is a name of `PublishedShape` or the path of a config.json. Each row is one
//! line of JSON: its label, the median time of a call in milliseconds, the calls, and the floating-point operations of one.
//! `peers/gpu.py` measures PyTorch under the same labels. A check is a line with its name, whether it holds, and what was found.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

mod memory;
mod parity;
mod scan;

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use burn::tensor::{Device, Distribution, Tensor};
use inject_benches::{device, ids, prefix, random, wait};
use inject_sipit::{
    collisions::{Pairs, Search, SearchOptions, StateRows},
    models::{
        Decoder, DecoderConfig, FloatFormat, Logits, PublishedShape, Tap, TokenBatch, host::to_host,
        rounds_products, silent,
    },
};
use ndarray::Array2;

/// Tokens of a prompt, and of the prefix of a step.
const PROMPT: usize = 512;
/// Tokens of the prefix of candidates.
const PREFIX: usize = 16;

/// The questions to answer and their sizes, which are small by default.
struct Options {
    shapes: Vec<String>,
    formats: Vec<FloatFormat>,
    questions: Vec<String>,
    /// Calls are repeated for this time.
    seconds: f64,
    candidates: usize,
    /// The positions of a prompt that is inverted.
    positions: usize,
    /// The time for a scan before the one that is timed.
    warm_up: Duration,
    /// The batches of candidates over which memory must not grow.
    batches: usize,
    rows: usize,
    width: usize,
    /// The size of the product of `gemm`.
    product: usize,
    /// The folder of the fixtures that `parity` compares.
    fixtures: PathBuf,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut options = Options {
            shapes: vec!["gpt2".to_owned()],
            formats: vec![FloatFormat::F32],
            questions: vec!["forward".to_owned(), "step".to_owned(), "candidates".to_owned()],
            seconds: 1.0,
            candidates: 4096,
            positions: 20,
            warm_up: Duration::from_secs(20),
            batches: 10_000,
            rows: 1000,
            width: 768,
            product: 8192,
            fixtures: inject_testing::models::fixtures(),
        };
        let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        while let Some(name) = arguments.next() {
            // cargo bench adds this one.
            if name == "--bench" {
                continue;
            }
            let value = arguments.next().ok_or_else(|| format!("{name}: expected a value"))?;
            match name.as_str() {
                "--shapes" => options.shapes = list(value),
                "--formats" => {
                    options.formats = list(value).iter().map(|text| text.parse()).collect::<Result<_, _>>()?
                }
                "--questions" => options.questions = list(value),
                "--seconds" => options.seconds = value.parse()?,
                "--candidates" => options.candidates = value.parse()?,
                "--positions" => options.positions = value.parse()?,
                "--warm-up" => options.warm_up = Duration::try_from_secs_f64(value.parse()?)?,
                "--batches" => options.batches = value.parse()?,
                "--rows" => options.rows = value.parse()?,
                "--width" => options.width = value.parse()?,
                "--product" => options.product = value.parse()?,
                "--fixtures" => options.fixtures = value.into(),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }

    fn asks(&self, question: &str) -> bool {
        self.questions.iter().any(|asked| asked == question)
    }
}

type Ran = Result<(), Box<dyn Error>>;

fn main() -> Ran {
    let options = Options::parse(std::env::args().skip(1))?;
    let device = device();
    if options.asks("parity") {
        options.formats.iter().for_each(|&format| parity::parity(&options.fixtures, format, &device));
    }
    if options.asks("neighbours") {
        neighbours(&options, &device)?;
    }
    if options.asks("gemm") {
        options.formats.iter().try_for_each(|&format| gemm(&options, format, &device))?;
    }
    if !["forward", "step", "candidates", "scan", "memory"].iter().any(|question| options.asks(question)) {
        return Ok(());
    }
    check(
        "products",
        true,
        match rounds_products(&device) {
            true => "the device rounds F32: a product is computed in three parts",
            false => "the device multiplies F32 as it is",
        },
    );
    for shape in &options.shapes {
        let config = match shape.parse::<PublishedShape>() {
            Ok(shape) => shape.config(),
            Err(_) if Path::new(shape).is_file() => DecoderConfig::read(Path::new(shape))?,
            Err(unknown) => return Err(unknown.into()),
        };
        for &format in &options.formats {
            let decoder = random(&config, &device).computing_in(format);
            let name = Path::new(shape).file_stem().filter(|_| shape.ends_with(".json"));
            let name = name.map_or(shape.as_str().into(), |stem| stem.to_string_lossy());
            measure(&options, &decoder, &format!("{name}/{format}"), &device)?;
        }
    }
    Ok(())
}

/// The questions about one decoder.
fn measure(options: &Options, decoder: &Decoder, label: &str, device: &Device) -> Ran {
    let config = decoder.config();
    let prompt = config.max_len().map_or(PROMPT, |most| PROMPT.min(most - 1));
    let per_token = config.flops_per_token(Tap::FinalNorm);
    if options.asks("forward") {
        let tokens = TokenBatch::new(&[ids(prompt, config.vocab_size)])?;
        row(&format!("forward/{label}/1x{prompt}"), prompt as f64 * per_token, options.seconds, || {
            let forward = decoder.forward(&tokens, &[Tap::FinalNorm], Logits::None)?;
            wait(device);
            drop(forward);
            Ok(())
        })?;
    }
    if options.asks("step") {
        let head = (2 * config.vocab_size * config.d_model) as f64;
        let mut cache = prefix(decoder, prompt, Tap::FinalNorm);
        let token = TokenBatch::new(&[[11]])?;
        row(&format!("step/{label}/{prompt}"), per_token + head, options.seconds, || {
            cache.truncate(prompt);
            let forward = decoder.extend(&mut cache, &token, &[], Logits::Last)?;
            wait(device);
            drop(forward);
            Ok(())
        })?;
    }
    if options.asks("candidates") {
        let tap = Tap::Block(config.n_layers() / 2);
        let cache = prefix(decoder, PREFIX, tap);
        let ids = ids(options.candidates, config.vocab_size);
        let flop = options.candidates as f64 * config.flops_per_token(tap);
        row(&format!("candidates/{label}/{tap}/{}", options.candidates), flop, options.seconds, || {
            let states = decoder.candidates(&cache, &ids, tap)?;
            wait(device);
            drop(states);
            Ok(())
        })?;
    }
    if options.asks("scan") {
        scan::scan(decoder, label, options.positions, options.warm_up)?;
    }
    if options.asks("memory") {
        memory::memory(decoder, label, options.batches)?;
    }
    Ok(())
}

/// A large product of two matrices as burn computes it: the rate of the device, of which a scan has a share. A product in F32 that
/// the device rounds is one of TF32.
fn gemm(options: &Options, format: FloatFormat, device: &Device) -> Ran {
    let size = options.product;
    let matrix =
        Tensor::<2>::random([size, size], Distribution::Normal(0.0, 1.0), device).cast(format.dtype());
    let name = match format == FloatFormat::F32 && rounds_products(device) {
        true => "tf32".to_owned(),
        false => format.to_string(),
    };
    row(&format!("gemm/{name}/{size}"), 2.0 * (size as f64).powi(3), options.seconds, || {
        let product = matrix.clone().matmul(matrix.clone());
        wait(device);
        drop(product);
        Ok(())
    })
}

/// The nearest neighbour of every row, and the closest pair, of independent normal numbers.
fn neighbours(options: &Options, device: &Device) -> Ran {
    let Options { rows, width, .. } = *options;
    device.seed(1);
    let values = Tensor::<2>::random([rows, width], Distribution::Normal(0.0, 1.0), device);
    let states = Array2::from_shape_vec((rows, width), to_host(values)?)?;
    let states = StateRows::new(states.view())?;
    let flop = 2.0 * (rows as f64).powi(2) * width as f64;
    for question in ["nearest", "closest"] {
        row(&format!("neighbours/{rows}x{width}/{question}"), flop, 0.0, || {
            let search = Search::new(&states, &Pairs::All, SearchOptions::default(), device)?;
            match question {
                "nearest" => drop(search.nearest_neighbours(&mut silent)?),
                _ => drop(search.closest_pairs(1, &mut silent)?),
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Times a call until some time has passed, after two calls that compile and tune kernels. With no time given it is called once.
fn row(label: &str, flop: f64, seconds: f64, mut call: impl FnMut() -> Ran) -> Ran {
    if seconds > 0.0 {
        call()?;
        call()?;
    }
    let mut times = Vec::new();
    while times.is_empty() || times.iter().sum::<f64>() < seconds {
        let begin = Instant::now();
        call()?;
        times.push(begin.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    print_row(label, times[times.len() / 2], times.len(), flop);
    Ok(())
}

/// Prints the time of a call.
fn print_row(label: &str, seconds: f64, calls: usize, flop: f64) {
    println!("{}", serde_json::json!({ "row": label, "ms": 1e3 * seconds, "calls": calls, "flop": flop }));
}

/// Prints whether something holds, and what was found.
fn check(name: &str, holds: bool, found: &str) {
    println!("{}", serde_json::json!({ "check": name, "holds": holds, "found": found }));
}
