//! A file that is hashed while it is read, so that it is read once.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::evidence::staging;

/// A reader that hashes what goes through it; its clones read on where it stands.
#[derive(Clone, Debug)]
pub struct Hashing {
    shared: Arc<Mutex<(File, Sha256)>>,
}

impl Hashing {
    /// Opens a file.
    ///
    /// # Errors
    /// Where it cannot be opened, or is a folder.
    pub fn open(path: &Path) -> io::Result<Hashing> {
        let file = File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Hashing {
            shared: Arc::new(Mutex::new((file, Sha256::new()))),
        })
    }

    /// Reads what is left and gives the SHA-256 of the whole file in lower-case hex.
    ///
    /// # Errors
    /// Those of reading.
    pub fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        let (_, hash) = &*self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(staging::hex(&hash.clone().finalize()))
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (file, hash) = &mut *self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let n = file.read(buffer)?;
        hash.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_file_is_hashed_however_far_it_was_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 100_000]).unwrap();
        let reader = Hashing::open(file.path()).unwrap();
        reader.clone().read_exact(&mut [0; 1_000]).unwrap();
        assert_eq!(reader.finish().unwrap(), staging::sha256(file.path()).unwrap());
    }
}
