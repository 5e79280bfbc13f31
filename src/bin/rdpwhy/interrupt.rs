//! What is half made goes when the program is told to stop.

use std::io;
use std::path::Path;

/// From now on SIGINT, SIGTERM and SIGHUP remove the folder in which `goal` is made, and then end the program as they would have.
///
/// # Errors
/// Where the signals cannot be caught.
#[cfg(unix)]
pub fn clean_up(goal: &Path) -> io::Result<()> {
    use rdpwhy::evidence::staging::Staging;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    /// The folder is written to while it is removed.
    const TRIES: usize = 16;
    let folder = Staging::folder(goal);
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for _ in 0..TRIES {
                if std::fs::remove_dir_all(&folder).is_ok() || !folder.exists() {
                    break;
                }
            }
            // Where even that fails, the exit status is that of a shell.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Elsewhere a program that is told to stop leaves the folder behind.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn clean_up(_: &Path) -> io::Result<()> {
    Ok(())
}
