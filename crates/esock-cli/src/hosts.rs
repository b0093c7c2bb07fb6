//! Addresses, names and ports as they are written on the command line.

use crate::exit::{Exit, Failure};
use esock::Address;
use std::net::{IpAddr, SocketAddr};

/// Where to connect: hosts as written, and the one SCTP port.
#[derive(Debug, PartialEq, Eq)]
pub struct PeerName {
    /// Addresses or names.
    pub hosts: Vec<String>,
    /// The SCTP port.
    pub port: u16,
}

impl PeerName {
    /// Takes words of the form HOST, HOST:PORT, [HOST]:PORT, or PORT as the last one.
    pub fn parse(words: &[String]) -> Result<Self, Failure> {
        let usage = |problem: String| Failure::new(Exit::Usage, problem);
        let mut hosts = Vec::new();
        let mut port: Option<u16> = None;
        for (index, word) in words.iter().enumerate() {
            let (host, given) = split(word).map_err(usage)?;
            let last = index + 1 == words.len() && !hosts.is_empty();
            let given = match (given, host.parse::<u16>()) {
                (None, Ok(number)) if last && port.is_none() => Some(number),
                _ => {
                    hosts.push(host.to_owned());
                    given
                }
            };
            match (port, given) {
                (Some(one), Some(other)) if one != other => {
                    return Err(usage(format!(
                        "two different ports, {one} and {other}: a peer has one SCTP port, and several addresses if you like"
                    )));
                }
                _ => port = port.or(given),
            }
        }
        match port {
            Some(0) => Err(usage("port 0: give the SCTP port that the peer listens on".to_owned())),
            Some(port) => Ok(Self { hosts, port }),
            None => Err(usage(format!(
                "no port: write {}:PORT, with the SCTP port that the peer listens on",
                bracketed(words.first().map_or("HOST", String::as_str))
            ))),
        }
    }

    /// As it is written for people.
    pub fn shown(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|host| bracketed(host)).collect();
        format!("{}:{}", hosts.join(","), self.port)
    }
}

/// An address with brackets where a port would be mistaken for a part of it.
pub fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// HOST and its port, if it has one.
fn split(word: &str) -> Result<(&str, Option<u16>), String> {
    let port = |text: &str| {
        text.parse::<u16>()
            .map(Some)
            .map_err(|_| format!("`{text}` in `{word}` is not a port: give a number from 1 to 65535"))
    };
    let (host, given) = if let Some(rest) = word.strip_prefix('[') {
        let (host, after) =
            rest.split_once(']').ok_or_else(|| format!("`{word}` has no `]`: write [IPv6 ADDRESS]:PORT"))?;
        match after.strip_prefix(':') {
            Some(text) => (host, port(text)?),
            None if after.is_empty() => (host, None),
            None => {
                return Err(format!("`{after}` after the address in `{word}`: write [IPv6 ADDRESS]:PORT"));
            }
        }
    } else {
        match word.rsplit_once(':') {
            // More than one colon: an IPv6 address without a port.
            Some((host, _)) if host.contains(':') => (word, None),
            Some((host, text)) => (host, port(text)?),
            None => (word, None),
        }
    };
    if host.is_empty() { Err(format!("`{word}` names no host")) } else { Ok((host, given)) }
}

/// The addresses of `hosts`, each once, in order. Names are looked up; a name gives all it has.
pub async fn resolve(hosts: &[String]) -> Result<Vec<Address>, Failure> {
    let mut addresses = Vec::new();
    for host in hosts {
        for address in resolve_one(host).await? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    Ok(addresses)
}

async fn resolve_one(host: &str) -> Result<Vec<Address>, Failure> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![ip.into()]);
    }
    // Also reads scoped addresses: fe80::1%eth0.
    let found: Vec<Address> = match tokio::net::lookup_host((host, 0)).await {
        Ok(found) => found.map(address_of).collect(),
        Err(error) => {
            return Err(Failure::new(Exit::Other, format!("cannot find the address of {host}: {error}")));
        }
    };
    if found.is_empty() {
        return Err(Failure::new(Exit::Other, format!("{host} has no address")));
    }
    Ok(found)
}

fn address_of(socket: SocketAddr) -> Address {
    match socket {
        SocketAddr::V4(v4) => (*v4.ip()).into(),
        SocketAddr::V6(v6) => Address::new((*v6.ip()).into(), v6.scope_id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<PeerName, String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        PeerName::parse(&words).map_err(|failure| failure.to_string())
    }

    fn peer(hosts: &[&str], port: u16) -> Result<PeerName, String> {
        Ok(PeerName { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), port })
    }

    #[test]
    fn a_peer_is_written_in_many_ways() {
        assert_eq!(parse(&["127.0.0.1:30400"]), peer(&["127.0.0.1"], 30400));
        assert_eq!(parse(&["[::1]:30400"]), peer(&["::1"], 30400));
        assert_eq!(parse(&["example.net:1"]), peer(&["example.net"], 1));
        assert_eq!(parse(&["::1", "30400"]), peer(&["::1"], 30400));
        assert_eq!(parse(&["10.0.0.1", "10.1.0.1", "9"]), peer(&["10.0.0.1", "10.1.0.1"], 9));
        assert_eq!(parse(&["10.0.0.1:9", "10.1.0.1"]), peer(&["10.0.0.1", "10.1.0.1"], 9));
        assert_eq!(parse(&["10.0.0.1:9", "[fe80::1%2]:9"]), peer(&["10.0.0.1", "fe80::1%2"], 9));
    }

    #[test]
    fn what_is_wrong_with_a_peer_is_said() {
        for (words, says) in [
            (&["127.0.0.1"][..], "127.0.0.1:PORT"),
            (&["::1"], "[::1]:PORT"),
            (&["30400"], "no port"),
            (&["127.0.0.1:0"], "port 0"),
            (&["127.0.0.1:x"], "`x`"),
            (&["127.0.0.1:70000"], "65535"),
            (&["a:1", "b:2"], "two different ports, 1 and 2"),
            (&["[::1:30400"], "no `]`"),
            (&["[::1]30400"], "`30400`"),
            (&[":30400"], "names no host"),
        ] {
            let problem = parse(words).unwrap_err();
            assert!(problem.contains(says), "{words:?}: {problem}");
        }
    }

    #[test]
    fn a_peer_is_shown_with_its_addresses_and_port() {
        assert_eq!(parse(&["::1", "10.0.0.1", "9"]).unwrap().shown(), "[::1],10.0.0.1:9");
    }
}
