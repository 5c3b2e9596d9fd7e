//! Rules of the machine's own firewall for one address or port of a test. They need root.

use std::process::{Child, Command};

use super::{Result, process::at_the_end};

/// Rules that hold until it is dropped, or this process ends.
pub struct Iptables {
    /// Removes the rules once its standard input ends.
    guard: Child,
}

impl Iptables {
    /// Drops these percents of the packets from and to a port of loopback, at random.
    ///
    /// # Errors
    /// Returns an error if iptables is not there, or may not be used: with its output.
    pub fn lose_packets(port: u16, percent: u8) -> Result<Self> {
        let rules = ["--dport", "--sport"].map(|side| {
            format!(
                "INPUT -i lo -p tcp {side} {port} -m statistic --mode random --probability 0.{percent:02} -j DROP"
            )
        });
        Self::add("filter", &rules)
    }

    /// Sends what this machine sends to an address to the same port of 127.0.0.1.
    ///
    /// # Errors
    /// Returns the errors of [`Self::lose_packets`].
    pub fn redirect_to_loopback(address: &str) -> Result<Self> {
        Self::add("nat", &[format!("OUTPUT -p tcp -d {address} -j REDIRECT")])
    }

    fn add(table: &str, rules: &[String]) -> Result<Self> {
        let undo = rules.iter().map(|rule| format!("iptables -w -t {table} -D {rule} 2>/dev/null"));
        let undo = undo.collect::<Vec<_>>().join("; ");
        let added = Self { guard: at_the_end(&undo, &[])? };
        for rule in rules {
            let output =
                Command::new("iptables").args(["-w", "-t", table, "-A"]).args(rule.split(' ')).output();
            let output = output.map_err(|error| format!("iptables does not start: {error}"))?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).trim().into());
            }
        }
        Ok(added)
    }
}

impl Drop for Iptables {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
