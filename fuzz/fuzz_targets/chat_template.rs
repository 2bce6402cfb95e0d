#![no_main]

libfuzzer_sys::fuzz_target!(init: inject_fuzz::silence_panics(), |bytes: &[u8]| {
    if inject_fuzz::cli::render(bytes) {
        // The program ends then, as this does: the run is to be continued by the same command.
        signal_hook::low_level::exit(0);
    }
});
