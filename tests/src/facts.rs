//! What the tests have shown, for the matrix in the README.

use crate::capture::Verdict;
use crate::line::Line;
use crate::network::{Family, Host};
use crate::scenario::{Encapsulation, End, Scenario};

/// Says that this run has shown `feature` with `peer`; `cargo xtask matrix` collects these lines, and has the list of
/// features. To be called last in a test: what fails shows nothing.
///
/// `detail` must be the same in every run.
pub fn fact(peer: &str, feature: &str, detail: &str) {
    println!("matrix: {peer} | {feature} | {detail}");
}

/// Extensions, by the types of chunks that may be sent only if both ends have announced them.
const EXTENSIONS: [(&str, &[u8]); 7] = [
    ("AUTH", &[15]),
    ("I-DATA", &[64, 194]),
    ("packet drop report", &[129]),
    ("RE-CONFIG", &[130]),
    ("ASCONF", &[128, 193]),
    ("FORWARD-TSN", &[192]),
    ("NR-SACK", &[16]),
];

/// Names of the extensions with these types of chunks.
pub fn extensions(kinds: &[u8]) -> Vec<&'static str> {
    let mut names: Vec<&str> =
        EXTENSIONS.iter().filter(|(_, of)| of.iter().any(|kind| kinds.contains(kind))).map(|(name, _)| *name).collect();
    names.sort_unstable();
    names
}

impl Scenario {
    /// Tells what a run of this scenario between esock's stack and `peer` has shown: it has ended well. `up` is what
    /// esock said when it was up.
    ///
    /// # Panics
    /// If the peer used an extension that was not agreed on.
    pub fn tell_facts(&self, peer: &str, up: &Line, verdict: &Verdict) {
        let they = if self.client == Host::Us { self.server } else { self.client };
        if ![self.client, self.server].contains(&Host::Us) || they == Host::EsockOnKernel {
            return;
        }
        let we_are_client = self.client == Host::Us;
        let travels = self.encapsulation.name();
        let who = |is_us: bool| if is_us { "we" } else { "they" };
        fact(peer, &format!("{} connect", who(we_are_client)), travels);
        fact(peer, "streams out / in", &format!("{} / {}", up.number("out"), up.number("in")));
        let sizes = |kind: &str| [self.client_sends, self.server_sends].iter().all(|sends| sends.starts_with(kind));
        if sizes("mixed:4194304:1048576") {
            fact(peer, "messages of all sizes, both ways at once", "up to 1 MB");
        } else if sizes("fixed:16384:4096") {
            fact(peer, "64 MB, both ways at once", travels);
        }
        if self.links.contains(&Family::V6) {
            fact(peer, "IPv6", travels);
        }
        let ends = who(self.ends == Host::Us);
        match self.end {
            End::Shutdown => fact(peer, &format!("{ends} shut down"), travels),
            End::Abort => fact(peer, &format!("{ends} abort"), travels),
        }
        if self.restart {
            fact(peer, &format!("{} restart", who(we_are_client)), travels);
        }
        self.tell_extensions(peer, they, verdict);
    }

    fn tell_extensions(&self, peer: &str, they: Host, verdict: &Verdict) {
        let [ours, theirs] = [Host::Us, they].map(|host| verdict.announced(host));
        let agreed: Vec<u8> = theirs.iter().copied().filter(|kind| ours.contains(kind)).collect();
        let declined: Vec<u8> = theirs.iter().copied().filter(|kind| !ours.contains(kind)).collect();
        for (name, kinds) in EXTENSIONS.iter().filter(|(_, of)| !of.iter().any(|kind| agreed.contains(kind))) {
            let used = verdict.packets.iter().find(|packet| packet.chunks.iter().any(|kind| kinds.contains(kind)));
            assert!(used.is_none(), "{name} was not agreed on, and used: {used:?}");
        }
        for (feature, kinds) in [("extensions agreed on", agreed), ("extensions offered and declined", declined)] {
            let names = extensions(&kinds).join(", ");
            fact(peer, feature, if names.is_empty() { "none" } else { &names });
        }
    }
}

impl Encapsulation {
    /// As in the matrix.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "raw IP",
            Self::Udp => "UDP",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_named_once_and_sorted() {
        assert_eq!(extensions(&[192, 194, 64, 0, 130]), ["FORWARD-TSN", "I-DATA", "RE-CONFIG"]);
        assert_eq!(extensions(&[]), Vec::<&str>::new());
    }
}
