//! Writes a store of random states to measure with: `random_states FOLDER ROWS WIDTH`. Bounds exclude few of their pairs.

#![allow(clippy::unwrap_used, reason = "the code of the tests, which fail by panicking")]

#[path = "../tests/it/data.rs"]
mod data;

use std::env;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, rows, width] = &arguments[..] else { panic!("expected FOLDER ROWS WIDTH") };
    let number = |text: &String| text.parse().expect("expected a number");
    data::write(folder.as_ref(), number(rows), number(width));
}
