//! What is followed of each client: whether an attempt may still grow is asked for one client at a time.

use std::collections::hash_map::Entry;
use std::net::IpAddr;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::flow::Slot;

/// In order: one client may have thousands.
type Slots = FxHashMap<IpAddr, SmallVec<[Slot; 2]>>;

/// The connections and conversations of each client.
#[derive(Debug, Default)]
pub(super) struct Busy {
    flows: Slots,
    conversations: Slots,
}

impl Busy {
    pub(super) fn add_flow(&mut self, client: IpAddr, slot: Slot) {
        add(&mut self.flows, client, slot);
    }

    pub(super) fn remove_flow(&mut self, client: IpAddr, slot: Slot) {
        remove(&mut self.flows, client, slot);
    }

    pub(super) fn add_conversation(&mut self, client: IpAddr, slot: Slot) {
        add(&mut self.conversations, client, slot);
    }

    pub(super) fn remove_conversation(&mut self, client: IpAddr, slot: Slot) {
        remove(&mut self.conversations, client, slot);
    }

    pub(super) fn flows(&self, client: IpAddr) -> impl Iterator<Item = Slot> {
        self.flows.get(&client).into_iter().flatten().copied()
    }

    pub(super) fn conversations(&self, client: IpAddr) -> impl Iterator<Item = Slot> {
        self.conversations.get(&client).into_iter().flatten().copied()
    }
}

fn add(of_clients: &mut Slots, client: IpAddr, slot: Slot) {
    let slots = of_clients.entry(client).or_default();
    if let Err(at) = slots.binary_search(&slot) {
        slots.insert(at, slot);
    }
}

fn remove(of_clients: &mut Slots, client: IpAddr, slot: Slot) {
    if let Entry::Occupied(mut of_client) = of_clients.entry(client) {
        let slots = of_client.get_mut();
        if let Ok(at) = slots.binary_search(&slot) {
            slots.remove(at);
        }
        if of_client.get().is_empty() {
            of_client.remove();
        }
    }
}
