#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bicast_sfu::fuzzing::rewrite(data));
