//! The budget of bytes for request bodies, shared fairly among peers and charged as bytes arrive.
//!
//! A peer may hold as much as is left after its charge: one peer alone gets half of the budget, the next one half of
//! the rest, so that the next peer always finds a share. Bodies above [`SMALL_BODY_BYTES`] leave a quarter of the
//! budget to those below, and are not held against the smaller ones of the same peer.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// The largest body that may use the whole budget, in bytes. Nearly all reviews are smaller.
pub(super) const SMALL_BODY_BYTES: usize = 256 * 1024;

/// The bytes of a body that are charged as they arrive. Behind them the body is charged as a whole.
const ARRIVING_BYTES: usize = 16 * 1024;

/// The smallest ratio of the budget to the largest body: with it one peer alone can send one.
const MIN_RATIO: usize = 3;

/// The budget. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct BodyBudget(Arc<BudgetState>);

#[derive(Debug)]
struct BudgetState {
    total: usize,
    held: Mutex<HeldBytes>,
    released: Notify,
}

#[derive(Debug, Default)]
struct HeldBytes {
    bytes: usize,
    peers: HashMap<IpAddr, Share>,
}

/// The bytes that a peer holds.
#[derive(Debug, Default, Clone, Copy)]
struct Share {
    /// Of bodies that are small so far.
    small: usize,
    /// The bytes that are left for the others.
    large: usize,
}

impl BodyBudget {
    /// A budget of `bytes`, or more if a body of `largest_body` bytes needs more.
    pub(super) fn new(bytes: usize, largest_body: usize) -> Self {
        let total = bytes.max(largest_body.saturating_mul(MIN_RATIO));
        Self(Arc::new(BudgetState { total, held: Mutex::default(), released: Notify::new() }))
    }

    /// A charge of nothing so far, for a body that `peer` sends.
    pub(super) fn charge(&self, peer: IpAddr) -> Charge {
        Charge { budget: self.clone(), peer, bytes: 0 }
    }

    fn held(&self) -> MutexGuard<'_, HeldBytes> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// The part that a body of so many bytes is in.
    fn of(&mut self, bytes: usize) -> &mut usize {
        if bytes <= SMALL_BODY_BYTES { &mut self.small } else { &mut self.large }
    }
}

/// The share of the budget that one body holds. Dropping it gives the bytes back.
#[derive(Debug)]
pub(super) struct Charge {
    budget: BodyBudget,
    peer: IpAddr,
    bytes: usize,
}

impl Charge {
    /// Charges what a body needs of which `received` bytes have arrived, of `expected` in all, as soon as the budget and
    /// the peer's share have it.
    ///
    /// The first bytes are charged as they arrive, so that a promise costs nothing. A body that goes on is charged as a
    /// whole: many that grew side by side would hold the budget and wait for one another. By default the first
    /// bytes of 1,000 bodies of one peer leave room for the largest one.
    pub(super) async fn cover(&mut self, received: usize, expected: usize) {
        let needed = if received > ARRIVING_BYTES { expected.max(received) } else { received };
        if needed > self.bytes {
            self.grow(needed - self.bytes).await;
        }
    }

    async fn grow(&mut self, bytes: usize) {
        let budget = self.budget.clone();
        loop {
            let mut released = pin!(budget.0.released.notified());
            // From here on a release is not missed.
            released.as_mut().enable();
            if self.try_grow(bytes) {
                return;
            }
            released.await;
        }
    }

    fn try_grow(&mut self, bytes: usize) -> bool {
        let total = self.budget.0.total;
        let mut held = self.budget.held();
        let grown = self.bytes + bytes;
        let mut share = held.peers.get(&self.peer).copied().unwrap_or_default();
        let (of_peer, reserve) = if grown <= SMALL_BODY_BYTES {
            share.small += bytes;
            (share.small, 0)
        } else {
            *share.of(self.bytes) -= self.bytes;
            share.large += grown;
            (share.small + share.large, total / 4)
        };
        let left = total.checked_sub(held.bytes + reserve + bytes);
        if left.is_none_or(|left| of_peer > left) {
            return false;
        }
        held.bytes += bytes;
        held.peers.insert(self.peer, share);
        drop(held);
        self.bytes += bytes;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.budget.held();
        held.bytes -= self.bytes;
        if let Some(share) = held.peers.get_mut(&self.peer) {
            *share.of(self.bytes) -= self.bytes;
            if share.small + share.large == 0 {
                held.peers.remove(&self.peer);
            }
        }
        drop(held);
        self.budget.0.released.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MIB: usize = 1 << 20;

    fn peer(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    /// Takes bodies of 1 MiB for `peer` until there are no more.
    fn take_all(budget: &BodyBudget, number: u8) -> Vec<Charge> {
        let next = || {
            let mut charge = budget.charge(peer(number));
            charge.try_grow(MIB).then_some(charge)
        };
        std::iter::from_fn(next).collect()
    }

    #[tokio::test]
    async fn bodies_that_arrive_side_by_side_do_not_wait_for_one_another() {
        let budget = BodyBudget::new(12 * MIB, 4 * MIB);
        for size in [20_000, SMALL_BODY_BYTES - 1, SMALL_BODY_BYTES + 1, 4 * MIB] {
            let bodies: Vec<_> = (0..200)
                .map(|_| {
                    let mut charge = budget.charge(peer(1));
                    tokio::spawn(async move {
                        for received in (1..=16).map(|piece| piece * size / 16) {
                            charge.cover(received, size).await;
                            tokio::task::yield_now().await;
                        }
                    })
                })
                .collect();
            for body in bodies {
                tokio::time::timeout(std::time::Duration::from_mins(1), body).await.unwrap().unwrap();
            }
            assert_eq!(budget.held().bytes, 0);
        }
    }

    #[test]
    fn greedy_peers_leave_a_share_for_the_next_one() {
        let budget = BodyBudget::new(64 * MIB, 8 * MIB);
        let held: Vec<_> = (0..6).map(|number| take_all(&budget, number)).collect();
        assert_eq!(held[0].len(), 24, "half of what large bodies may have");
        assert!(
            held.iter().all(|charges| !charges.is_empty()),
            "{:?}",
            held.iter().map(Vec::len).collect::<Vec<_>>()
        );
        for number in 0..100 {
            assert!(budget.charge(peer(number)).try_grow(4096), "a small review of peer {number}");
        }
    }

    #[test]
    fn a_dropped_charge_is_given_back() {
        let budget = BodyBudget::new(8 * MIB, MIB);
        drop(take_all(&budget, 1));
        let held = budget.held();
        assert_eq!((held.bytes, held.peers.len()), (0, 0));
    }

    #[test]
    fn the_largest_body_always_fits() {
        for largest in [1024, 100_000, 8 * MIB] {
            let budget = BodyBudget::new(0, largest);
            assert!(budget.charge(peer(1)).try_grow(largest), "{largest}");
        }
    }

    #[tokio::test]
    async fn a_body_waits_for_a_release() {
        let budget = BodyBudget::new(4 * MIB, MIB);
        let held = take_all(&budget, 1);
        let mut waiting = budget.charge(peer(1));
        let grown = tokio::spawn(async move { waiting.grow(MIB).await });
        tokio::task::yield_now().await;
        assert!(!grown.is_finished());
        drop(held);
        grown.await.unwrap();
    }
}
