//! Where the two connections of a gateway's tunnel meet. Without WebSocket a client sends in one connection and is answered in another; both
//! name the same tunnel, and the Remote Desktop connection in it can only be read from both together.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::transcript::moment::Moments;
use crate::transcript::recorder::Layer;

/// Tunnels that are remembered at a time; those that are gone leave first, and what is beyond is read as two halves.
const TUNNELS: usize = 4_096;

/// The tunnels over two connections of one examination, by the name that client and gateway give them.
#[derive(Clone, Default)]
pub(super) struct Halves(Arc<Mutex<HashMap<String, Weak<Mutex<Carried>>>>>);

impl fmt::Debug for Halves {
    /// Without what they carry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Halves")
    }
}

/// What a tunnel over two connections carries, and what was said in it and is not in a transcript yet.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) inner: Box<Layer>,
    pub(super) said: Moments,
}

/// One half's hold of it.
#[derive(Clone, Debug)]
pub(super) struct Half(Arc<Mutex<Carried>>);

impl Half {
    /// What the tunnel carries.
    pub(super) fn carried(&self) -> MutexGuard<'_, Carried> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Halves {
    /// A half of the tunnel of this name; `make` makes what it carries where this is its first half.
    pub(super) fn join(&self, name: &str, make: impl FnOnce() -> Carried) -> Half {
        let mut tunnels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tunnels.get(name).and_then(Weak::upgrade) {
            return Half(known);
        }
        let fresh = Arc::new(Mutex::new(make()));
        if tunnels.len() >= TUNNELS {
            tunnels.retain(|_, tunnel| tunnel.strong_count() > 0);
        }
        if tunnels.len() < TUNNELS {
            tunnels.insert(name.to_owned(), Arc::downgrade(&fresh));
        }
        Half(fresh)
    }
}
