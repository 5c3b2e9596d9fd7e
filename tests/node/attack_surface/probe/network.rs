//! Vectors in the network: the services that answer.

use std::{
    env, fs, io,
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

use crate::{Vector, answer::Answer};

pub(crate) const VECTORS: &[Vector] = &[
    Vector {
        id: "api-server",
        what: "reaches the API server",
        how: "a TCP connection to the Service kubernetes",
        ask: || {
            let variable = |name| env::var(name).unwrap_or_default();
            connect(&variable("KUBERNETES_SERVICE_HOST"), &variable("KUBERNETES_SERVICE_PORT"))
        },
    },
    Vector {
        id: "kubelet",
        what: "reaches the kubelet of its node",
        how: "a TCP connection to port 10250 of the node",
        ask: || connect(&node(), "10250"),
    },
    Vector {
        id: "etcd",
        what: "reaches etcd",
        how: "a TCP connection to port 2379 of the node",
        ask: || connect(&node(), "2379"),
    },
    Vector {
        id: "node-loopback",
        what: "is in the network of its node",
        how: "a TCP connection to the kubelet's port 10248 of 127.0.0.1",
        ask: || connect("127.0.0.1", "10248"),
    },
    Vector {
        id: "dns",
        what: "resolves names by the DNS of the cluster, as it should",
        how: "a question by UDP to the name server of /etc/resolv.conf",
        ask: || ask_dns().unwrap_or_else(|error| Answer::closed(error.to_string())),
    },
    Vector {
        id: "metadata",
        what: "reaches the metadata service of a cloud",
        how: "a TCP connection to 169.254.169.254",
        ask: || connect("169.254.169.254", "80"),
    },
];

/// The address of the node, from the Pod's environment.
fn node() -> String {
    env::var("NODE").unwrap_or_default()
}

fn connect(host: &str, port: &str) -> Answer {
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let addresses = format!("{host}:{port}").to_socket_addrs();
    let Some(address) = addresses.ok().and_then(|mut all| all.next()) else {
        return Answer::closed("no address");
    };
    match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
        Ok(_) => Answer::open("connected"),
        Err(error) => Answer::closed(error.raw_os_error().map_or("no answer".into(), crate::system::name)),
    }
}

/// Asks for the address of `kubernetes.default.svc.cluster.local`. The C library of a static program has no resolver.
fn ask_dns() -> io::Result<Answer> {
    const QUESTION: &[u8] = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\
        \x0akubernetes\x07default\x03svc\x07cluster\x05local\x00\x00\x01\x00\x01";
    let configuration = fs::read_to_string("/etc/resolv.conf")?;
    let server = configuration.lines().find_map(|line| line.strip_prefix("nameserver "));
    let Some(server) = server else { return Ok(Answer::closed("no name server")) };
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect((server.trim(), 53))?;
    socket.send(QUESTION)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    Ok(Answer::open(format!("{length} bytes")))
}
