//! Every example runs to its end. Each checks what it found.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../closest_pair.rs"]
mod closest_pair;
#[path = "../invert_file.rs"]
mod invert_file;
#[path = "../invert_prompt.rs"]
mod invert_prompt;
#[path = "../make_lens.rs"]
mod make_lens;
#[path = "../read_states.rs"]
mod read_states;

#[test]
fn a_model_is_loaded_and_states_are_read() {
    read_states::main().unwrap();
}

#[test]
fn a_prompt_comes_back_from_its_states() {
    invert_prompt::main().unwrap();
}

#[test]
fn a_prompt_comes_back_from_a_file() {
    invert_file::main().unwrap();
}

#[test]
fn the_closest_pair_is_found() {
    closest_pair::main().unwrap();
}

#[test]
fn a_lens_is_made_and_used() {
    make_lens::main().unwrap();
}
