#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bicast_packager::fuzzing::depacketize(data));
