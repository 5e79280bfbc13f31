//! How often the reset forensics are right, on some thousands of simulated connections, beside two published methods.
//!
//! The messages come from recorded sessions; the packets that carry them are written as Windows, Linux, older Linux and Apple hosts write
//! theirs, over paths of random length and delay, captured at the client, at the server or between, by recorders of which some lose or
//! double packets. Half of the connections end by a genuine RST, half by one that a device made. Every packet goes through the real
//! examiner.

mod play;
mod random;
mod run;
mod stack;
mod wire;

/// Connections without an argument.
const CONNECTIONS: usize = 4_000;

fn main() {
    // Cargo passes `--bench`; a number asks for another count, `misses` prints what was judged wrongly.
    let words: Vec<String> = std::env::args().collect();
    let connections = words.iter().find_map(|word| word.parse().ok()).unwrap_or(CONNECTIONS);
    let show_misses = words.iter().any(|word| word == "misses");
    print!("{}", run::run(connections, show_misses).tables());
}
