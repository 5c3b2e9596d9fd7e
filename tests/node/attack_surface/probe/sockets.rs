//! Sockets of families and kinds with much code behind them.

use crate::{
    Vector,
    answer::Answer,
    system::{Errno, call, number},
};

/// Family, type and protocol.
pub(crate) type Kind = [i64; 3];

const RAW: Kind = [2, 3, 1];
const PACKET: Kind = [17, 3, 0];
const ROUTE: Kind = [16, 3, 0];
pub(crate) const NETFILTER: Kind = [16, 3, 12];
const VSOCK: Kind = [40, 1, 0];
const ALG: Kind = [38, 5, 0];

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "raw-socket",
        what: "sends packets that it has made up",
        how: "socket(AF_INET, SOCK_RAW, ICMP)",
        ask: || Answer::of(socket(RAW)),
    },
    Vector {
        id: "packet-socket",
        what: "reads and writes whole frames",
        how: "socket(AF_PACKET, SOCK_RAW)",
        ask: || Answer::of(socket(PACKET)),
    },
    Vector {
        id: "netlink-route",
        what: "talks netlink, to routing",
        how: "socket(AF_NETLINK, NETLINK_ROUTE)",
        ask: || Answer::of(socket(ROUTE)),
    },
    Vector {
        id: "netlink-netfilter",
        what: "talks netlink, to netfilter",
        how: "socket(AF_NETLINK, NETLINK_NETFILTER)",
        ask: || Answer::of(socket(NETFILTER)),
    },
    Vector {
        id: "vsock",
        what: "talks to the hypervisor below the node",
        how: "socket(AF_VSOCK)",
        ask: || Answer::of(socket(VSOCK)),
    },
    Vector {
        id: "af_alg",
        what: "uses the kernel's cryptography",
        how: "socket(AF_ALG)",
        ask: || Answer::of(socket(ALG)),
    },
];

/// Opens one; the process is about to end, and the socket with it.
pub(crate) fn socket(kind: Kind) -> Result<i64, Errno> {
    call(number::SOCKET, &kind)
}
