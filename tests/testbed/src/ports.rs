//! Free ports of the machine.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A port of 127.0.0.1 that is free, and is handed out once.
///
/// Port 0 would give one that the next outgoing connection may take before its user listens; these lie below the range
/// for outgoing connections, and each process begins elsewhere. They also lie below the range for node ports, 30000 to
/// 32767, which kube-router leaves open to every Pod, whatever its policies.
#[must_use]
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 18_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);

    let start = process::id().wrapping_mul(61) % COUNT;
    let candidates = (0..COUNT).map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT);
    let mut ports = candidates.filter_map(|port| u16::try_from(port).ok());
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one of many ports is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_a_node_port() {
        assert!((0..20_000).all(|_| free_port() < 30_000));
    }
}
