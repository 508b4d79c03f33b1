#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    rosterkit_fuzz::calls(input);
});
