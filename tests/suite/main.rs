//! The one test binary.

/// `src/` is read and held to the direction of imports and to the ban on clocks.
mod architecture;
/// Captures of one connection from several places.
mod both_ends;
/// The program as a user runs it: arguments, exit codes, pipes.
mod cli;
/// What every format owes to its readers.
mod formats;
/// The tables of causes and formats against the contract.
mod tables;
/// Live capture on real interfaces.
#[cfg(all(feature = "live", target_os = "linux"))]
mod live;
/// Every capture against the truth that a person wrote.
mod golden;
/// Floods and scans stay inside the stated memory.
mod limits;
/// Who made a RST, and what the packets measure: short sequences, and many simulated connections.
mod forensics;
/// With the session's keys and without them.
mod keys;
/// What must not change a verdict.
mod laws;
/// What a capture that shows a part only must not claim.
mod partial;
/// What must hold for every parser on every input; shared with the fuzz targets.
mod oracles;
/// The README shows what the program prints.
mod readme;
/// What recorders leave out.
mod recorders;
/// Inputs that once broke a parser, and captures cut at any place.
mod survival;
/// Slices, redaction and bundles.
mod evidence;
