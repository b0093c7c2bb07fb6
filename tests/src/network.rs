//! A network of its own, in network namespaces without names: when the processes in them end, they are gone.
//!
//! Two links, each a bridge in the `switch` namespace. The hosts on them: ours (`.1`), usrsctp's (`.2`),
//! and the User-Mode Linux guest (`.3`), which sits behind two taps.

use crate::process::{Process, run, run_with_input};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How many links there are.
pub const LINKS: u8 = 2;

/// A host of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host {
    /// Where esock runs.
    Us = 1,
    /// Where usrsctp runs.
    Usrsctp = 2,
    /// The guest with the kernel's SCTP.
    Kernel = 3,
    /// The guest again: esock over its kernel's SCTP.
    EsockOnKernel = 4,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Host {
    /// Its address on a link.
    pub fn address(self, link: u8, family: Family) -> IpAddr {
        let number = if self.is_guest() { Self::Kernel } else { self } as u8;
        match family {
            Family::V4 => Ipv4Addr::new(10, 71, link, number).into(),
            Family::V6 => Ipv6Addr::new(0xfd71, u16::from(link), 0, 0, 0, 0, 0, u16::from(number)).into(),
        }
    }

    /// Whether it is the guest.
    pub fn is_guest(self) -> bool {
        matches!(self, Self::Kernel | Self::EsockOnKernel)
    }

    /// The port of the switch that it hangs on.
    pub fn switch_port(self, link: u8) -> String {
        match self {
            Self::Us => format!("us{link}"),
            Self::Usrsctp => format!("them{link}"),
            Self::Kernel | Self::EsockOnKernel => format!("tap{link}"),
        }
    }
}

/// A network namespace, held by a process that sleeps in it.
#[derive(Debug)]
pub struct Namespace {
    holder: Process,
    flag: String,
}

impl Namespace {
    fn new() -> Self {
        let mut holder = Process::start(&["unshare", "--net", "sleep", "infinity"], |command| {
            command.stdout(Stdio::null()).stderr(Stdio::inherit());
        });
        let name = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let deadline = Instant::now() + Duration::from_secs(5);
        let pid = holder.id().to_string();
        // Still in our own namespace until unshare has done its work.
        while name(&pid).is_none() || name(&pid) == name("self") {
            assert!(holder.is_running(), "`{}` failed: the interop tests need root", holder.what());
            assert!(Instant::now() < deadline, "`{}` does nothing", holder.what());
            std::thread::sleep(Duration::from_millis(2));
        }
        let flag = format!("--net=/proc/{pid}/ns/net");
        Self { holder, flag }
    }

    /// One with nothing but loopback.
    ///
    /// # Panics
    /// If it cannot be made: this needs root.
    pub fn with_loopback() -> Self {
        let namespace = Self::new();
        namespace.ip("link set lo up\n");
        namespace
    }

    /// The word that has `nsenter` enter it.
    pub fn flag(&self) -> &str {
        &self.flag
    }

    /// The words that run `words` inside.
    pub fn enter<'a>(&'a self, words: &[&'a str]) -> Vec<&'a str> {
        [&["nsenter", &self.flag, "--"], words].concat()
    }

    /// Runs `ip` commands, one a line.
    pub(crate) fn ip(&self, batch: &str) {
        run_with_input(&self.enter(&["ip", "-batch", "-"]), batch);
    }
}

/// The network.
#[derive(Debug)]
pub struct Network {
    /// Where the links are, and where captures are made.
    pub switch: Namespace,
    /// Where esock runs.
    pub us: Namespace,
    /// Where usrsctp runs.
    pub them: Namespace,
}

impl Network {
    /// Makes it.
    ///
    /// # Panics
    /// If it cannot be made: this needs root, veth, bridges and TUN.
    pub fn new() -> Self {
        let network = Self { switch: Namespace::new(), us: Namespace::new(), them: Namespace::new() };
        let (us, them) = (network.us.holder.id(), network.them.holder.id());
        let mut switch = "link set lo up\n".to_owned();
        for link in 0..LINKS {
            // Segmentation offload ends at the hosts: on the links, and in captures, packets are packets.
            switch += &format!(
                "link add link{link} type bridge mcast_snooping 0\n\
                 link set link{link} up\n\
                 address add 10.72.{link}.1/32 dev link{link}\n\
                 route add {}/32 dev link{link}\n\
                 tuntap add tap{link} mode tap\n\
                 link set tap{link} txqueuelen 5000 master link{link} up\n\
                 link add us{link} type veth peer name eth{link} netns {us}\n\
                 link set us{link} gso_max_segs 1 master link{link} up\n\
                 link add them{link} type veth peer name eth{link} netns {them}\n\
                 link set them{link} gso_max_segs 1 master link{link} up\n",
                Self::group(link)
            );
        }
        network.switch.ip(&switch);
        for (namespace, host) in [(&network.us, Host::Us), (&network.them, Host::Usrsctp)] {
            let mut batch = "link set lo up\n".to_owned();
            for link in 0..LINKS {
                let (v4, v6) = (host.address(link, Family::V4), host.address(link, Family::V6));
                batch += &format!(
                    "address add {v4}/24 dev eth{link}\n\
                     address add {v6}/64 dev eth{link} nodad\n\
                     link set eth{link} gso_max_segs 1 up\n"
                );
            }
            namespace.ip(&batch);
        }
        network
    }

    /// The multicast group through which the switch speaks to a link.
    pub fn group(link: u8) -> Ipv4Addr {
        Ipv4Addr::new(239, 71, link, 1)
    }

    /// Cuts a host off a link: what it sends and what is sent to it disappears, without a sign.
    pub fn cut(&self, host: Host, link: u8) {
        self.switch.ip(&format!("link set {} nomaster\n", host.switch_port(link)));
    }

    /// Mends a link that was cut, or makes sure that it is whole.
    pub fn mend(&self, host: Host, link: u8) {
        self.switch.ip(&format!("link set {} master link{link}\n", host.switch_port(link)));
    }

    /// What the kernel counted in a namespace that helps to explain a failure: UDP datagrams dropped.
    pub fn udp_drops(&self, namespace: &Namespace) -> String {
        let snmp = run(&namespace.enter(&["cat", "/proc/net/snmp"]));
        snmp.lines().filter(|line| line.starts_with("Udp:")).collect::<Vec<_>>().join("\n")
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}
