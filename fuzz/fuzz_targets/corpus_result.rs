#![no_main]

libfuzzer_sys::fuzz_target!(init: inject_fuzz::silence_panics(), |bytes: &[u8]| inject_fuzz::studies::corpus_result(bytes));
