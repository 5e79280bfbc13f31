#![no_main]

#[path = "../../suite/oracles.rs"]
mod oracles;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracles::packet_decoder(bytes));
