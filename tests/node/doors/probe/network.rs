//! What answers in the network.

use std::{
    env,
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use crate::{Door, answer::Answer};

pub(crate) const DOORS: &[Door] = &[
    Door {
        id: "api-server",
        what: "reaches the API server",
        how: "a TCP connection to the Service kubernetes",
        ask: || {
            let variable = |name| env::var(name).unwrap_or_default();
            connect(&variable("KUBERNETES_SERVICE_HOST"), &variable("KUBERNETES_SERVICE_PORT"))
        },
    },
    Door {
        id: "kubelet",
        what: "reaches the kubelet of its node",
        how: "a TCP connection to port 10250 of the node",
        ask: || connect(&node(), "10250"),
    },
    Door {
        id: "etcd",
        what: "reaches etcd",
        how: "a TCP connection to port 2379 of the node",
        ask: || connect(&node(), "2379"),
    },
    Door {
        id: "node-loopback",
        what: "is in the network of its node",
        how: "a TCP connection to the kubelet's port 10248 of 127.0.0.1",
        ask: || connect("127.0.0.1", "10248"),
    },
    Door {
        id: "metadata",
        what: "reaches the metadata service of a cloud",
        how: "a TCP connection to 169.254.169.254",
        ask: || connect("169.254.169.254", "80"),
    },
];

/// The address of the node, which the Pod says.
fn node() -> String {
    env::var("NODE").unwrap_or_default()
}

fn connect(host: &str, port: &str) -> Answer {
    const PATIENCE: Duration = Duration::from_secs(2);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let addresses = format!("{host}:{port}").to_socket_addrs();
    let Some(address) = addresses.ok().and_then(|mut all| all.next()) else {
        return Answer::closed("no address");
    };
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => Answer::open("connected"),
        Err(error) => Answer::closed(error.raw_os_error().map_or("no answer".into(), crate::system::name)),
    }
}
