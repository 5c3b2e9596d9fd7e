//! The open connections of a port: a bound on their number, shared fairly among peers.
//!
//! A peer may have as many connections as are free. At the bound the connection that has been idle longest is closed
//! for the new one, of the peer that has the most, so that no peer can lock others out by being idle.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::idle::Activity;

/// The open connections by peer.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    table: Mutex<Table>,
    closed: Notify,
}

#[derive(Debug, Default)]
struct Table {
    next_id: u64,
    open: HashMap<u64, OpenConnection>,
    /// The number of connections whose task has not ended. Those that were asked to close are among them.
    running: usize,
}

#[derive(Debug)]
struct OpenConnection {
    peer: IpAddr,
    activity: Arc<Activity>,
    close: Arc<Notify>,
}

/// The reason why a connection is not accepted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The peer has its share, and all of its connections are serving requests.
    Peer,
    /// The port has its most, and all are serving requests.
    Port,
}

impl Connections {
    pub(super) fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max: max as usize, table: Mutex::default(), closed: Notify::new() })
    }

    /// Takes a new connection, at the bound in place of an idle one.
    pub(super) fn open(self: &Arc<Self>, peer: IpAddr, activity: &Arc<Activity>) -> Result<Slot, Full> {
        let mut table = self.table();
        let of_peer = table.count(peer);
        let free = self.max.saturating_sub(table.open.len());
        if of_peer > 0 && of_peer >= free {
            table.close_idle_of(peer).ok_or(if free == 0 { Full::Port } else { Full::Peer })?;
        } else if free == 0 {
            table.close_idle().ok_or(Full::Port)?;
        }
        let close = Arc::new(Notify::new());
        let id = table.next_id;
        table.next_id += 1;
        table.running += 1;
        table
            .open
            .insert(id, OpenConnection { peer, activity: Arc::clone(activity), close: Arc::clone(&close) });
        Ok(Slot { id, close, connections: Arc::clone(self) })
    }

    /// Waits until a connection is closed.
    pub(super) async fn one_closed(&self) {
        self.closed.notified().await;
    }

    /// Waits until all connections are closed.
    pub(super) async fn all_closed(&self) {
        loop {
            let closed = self.closed.notified();
            if self.table().running == 0 {
                return;
            }
            closed.await;
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn count(&self, peer: IpAddr) -> usize {
        self.open.values().filter(|open| open.peer == peer).count()
    }

    /// Closes the connection of `peer` that has been idle longest.
    fn close_idle_of(&mut self, peer: IpAddr) -> Option<()> {
        let idle = self.open.iter().filter(|(_, open)| open.peer == peer);
        let idle = idle.filter_map(|(id, open)| Some((open.activity.idle_since()?, *id)));
        let (_, id) = idle.min()?;
        self.open.remove(&id)?.close.notify_one();
        Some(())
    }

    /// Closes an idle connection of the peer that has the most connections among those with an idle one.
    fn close_idle(&mut self) -> Option<()> {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for open in self.open.values() {
            *counts.entry(open.peer).or_default() += 1;
        }
        let mut peers: Vec<_> = counts.into_iter().collect();
        peers.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        peers.into_iter().find_map(|(peer, _)| self.close_idle_of(peer))
    }
}

/// One open connection. Dropping it records that it is closed.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    close: Arc<Notify>,
    connections: Arc<Connections>,
}

impl Slot {
    /// Waits until the connection is to be closed in favour of another one.
    pub(super) async fn is_to_close(&self) {
        self.close.notified().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.open.remove(&self.id);
        table.running -= 1;
        drop(table);
        // The waiting one checks again, whether it was woken in time or not.
        self.connections.closed.notify_waiters();
        self.connections.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use futures::FutureExt;

    use super::*;

    fn peer(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    fn open(connections: &Arc<Connections>, number: u8) -> Result<(Slot, Arc<Activity>), Full> {
        // So that no two have been idle for the same time.
        std::thread::sleep(Duration::from_millis(2));
        let activity = Activity::new();
        connections.open(peer(number), &activity).map(|slot| (slot, activity))
    }

    fn closes(slot: &Slot) -> bool {
        slot.is_to_close().now_or_never().is_some()
    }

    #[test]
    fn an_idle_flood_closes_its_own_connections_only() {
        let connections = Connections::new(8);
        let (friend, _) = open(&connections, 1).unwrap();
        let flood: Vec<_> = (0..100).map(|_| open(&connections, 2).unwrap().0).collect();
        assert!(!closes(&friend));
        assert!(open(&connections, 1).is_ok() && open(&connections, 3).is_ok());
        assert_eq!(flood.iter().filter(|slot| closes(slot)).count(), 96);
    }

    #[test]
    fn at_the_bound_the_peer_with_the_most_connections_loses_the_longest_idle_one() {
        let connections = Connections::new(4);
        let (first, _) = open(&connections, 1).unwrap();
        let (second, _) = open(&connections, 1).unwrap();
        let (third, _) = open(&connections, 2).unwrap();
        let (fourth, _) = open(&connections, 3).unwrap();
        let (fifth, _) = open(&connections, 4).unwrap();
        assert_eq!(
            [&first, &second, &third, &fourth, &fifth].map(closes),
            [true, false, false, false, false]
        );
    }

    #[test]
    fn a_connection_that_serves_is_not_closed() {
        let connections = Connections::new(2);
        let (busy, activity) = open(&connections, 1).unwrap();
        let _serving = activity.serve_request();
        assert_eq!(open(&connections, 1).unwrap_err(), Full::Peer);
        let (other, activity) = open(&connections, 2).unwrap();
        let _serving = activity.serve_request();
        assert_eq!(open(&connections, 3).unwrap_err(), Full::Port);
        assert!(!closes(&busy) && !closes(&other));
    }

    #[tokio::test]
    async fn all_are_closed_when_their_slots_are_gone() {
        let connections = Connections::new(2);
        let (slot, _) = open(&connections, 1).unwrap();
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.all_closed().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(slot);
        waiting.await.unwrap();
    }
}
