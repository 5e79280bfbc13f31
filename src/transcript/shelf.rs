//! Certificates that were read, shared by all connections of one examination: a host shows the same one to each of its clients.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

use crate::protocol::tls::certificate::Certificate;

/// How many different certificates are remembered at one time.
const REMEMBERED: usize = 512;
/// A certificate of more bytes is read anew each time.
const LONGEST: usize = 2 * 1024;

/// Certificates by their bytes.
type Read = FxHashMap<Box<[u8]>, Arc<Certificate>>;

/// The certificates of one examination.
#[derive(Clone, Debug, Default)]
pub struct Shelf(Arc<Mutex<Read>>);

impl Shelf {
    /// Reads a certificate in DER, or finds it among those that were read; `None` for what is no certificate.
    pub(super) fn read(&self, der: &[u8]) -> Option<Arc<Certificate>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = known.get(der) {
            return Some(certificate.clone());
        }
        let certificate = Arc::new(Certificate::parse(der).ok()?);
        if der.len() <= LONGEST {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(der.into(), certificate.clone());
        }
        Some(certificate)
    }
}
