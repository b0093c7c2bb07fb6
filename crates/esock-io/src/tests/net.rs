//! Network namespaces for tests: each test has its own, and they end with their threads.

use std::io;
use std::process::Command;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Held while a child process is made. A child has a copy of every descriptor of this process until
/// it becomes another program, and keeps ports in use that their owner has just freed.
static CHILDREN: RwLock<()> = RwLock::new(());

/// Lets no child process be made by another test, so that what is closed is closed. Not to be held
/// over [`Namespace::ip`].
pub(super) fn no_children() -> RwLockReadGuard<'static, ()> {
    CHILDREN.read().unwrap_or_else(PoisonError::into_inner)
}

/// A network namespace with a thread in it. Sockets opened there stay there wherever they are used.
pub(super) struct Namespace {
    work: Option<mpsc::Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<thread::JoinHandle<()>>,
    tid: libc::pid_t,
}

impl Namespace {
    /// A new namespace with its loopback up. `None` if this process may not make one: the test is then
    /// skipped, and says so.
    pub(super) fn new() -> Option<Self> {
        let (work, inbox) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            // SAFETY: changes the namespace of this thread alone.
            let code = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            let error = (code != 0).then(io::Error::last_os_error);
            // SAFETY: asks only.
            tell.send((error, unsafe { libc::gettid() })).unwrap();
            for work in inbox {
                work();
            }
        });
        let (error, tid) = told.recv().unwrap();
        match error {
            None => {}
            Some(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let name = thread::current().name().unwrap_or("a test").to_owned();
                eprintln!("SKIPPED: {name} needs the right to make network namespaces (root)");
                return None;
            }
            Some(error) => panic!("cannot make a network namespace: {error}"),
        }
        let namespace = Self { work: Some(work), thread: Some(thread), tid };
        namespace.ip("link set lo up");
        Some(namespace)
    }

    /// Two namespaces joined by a link: `veth0` in each, with 10.1.0.1 and fd00::1 in the first,
    /// 10.1.0.2 and fd00::2 in the second.
    pub(super) fn pair() -> Option<(Self, Self)> {
        let (first, second) = (Self::new()?, Self::new()?);
        first.ip(&format!("link add veth0 type veth peer name veth0 netns {}", second.tid));
        for (number, namespace) in [(1, &first), (2, &second)] {
            namespace.ip(&format!("addr add 10.1.0.{number}/24 dev veth0"));
            namespace.ip(&format!("addr add fd00::{number}/64 dev veth0 nodad"));
            namespace.ip("link set veth0 up");
        }
        for (number, namespace) in [(1, &first), (2, &second)] {
            namespace.await_link("veth0");
            namespace.await_address(&format!("fd00::{number}"));
        }
        Some((first, second))
    }

    /// Joins them by another link: `veth1` in each, with 10.2.0.1 in the first, 10.2.0.2 in the second.
    pub(super) fn join(&self, second: &Self) {
        self.ip(&format!("link add veth1 type veth peer name veth1 netns {}", second.tid));
        for (number, namespace) in [(1, self), (2, second)] {
            namespace.ip(&format!("addr add 10.2.0.{number}/24 dev veth1"));
            namespace.ip("link set veth1 up");
        }
        [self, second].iter().for_each(|namespace| namespace.await_link("veth1"));
    }

    /// Gives `veth0` an IPv6 address.
    pub(super) fn add_address(&self, address: &str) {
        self.ip(&format!("addr add {address}/64 dev veth0 nodad"));
        self.await_address(address);
    }

    /// Waits until the namespace takes an IPv6 address for its own: before, what is sent to it has no route.
    fn await_address(&self, address: &str) {
        let (end, route) = (Instant::now() + super::PATIENCE, format!("local {address} "));
        while !self.ip("-6 route show table local").contains(&route) {
            assert!(Instant::now() < end, "{address} does not come up");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until a link is up: before, packets vanish.
    fn await_link(&self, name: &str) {
        let end = Instant::now() + super::PATIENCE;
        while !self.ip(&format!("link show {name}")).contains("state UP") {
            assert!(Instant::now() < end, "{name} does not come up");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs `work` in the namespace.
    pub(super) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let sender = self.work.as_ref().unwrap();
        sender.send(Box::new(move || tell.send(work()).unwrap())).unwrap();
        told.recv().expect("the work in the namespace panicked")
    }

    /// Runs `ip` with these words in the namespace; returns what it prints.
    pub(super) fn ip(&self, words: &str) -> String {
        let list: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let output = self.run(move || {
            let _guard = CHILDREN.write().unwrap_or_else(PoisonError::into_inner);
            Command::new("ip").args(list).output().expect("the program `ip` runs")
        });
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {words}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Sets a value under /proc/sys/net, of this namespace.
    pub(super) fn set(&self, name: &str, value: &'static str) {
        let path = format!("/proc/sys/net/{name}");
        self.run(move || {
            std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn the_addresses_of_the_host_are_those_of_interfaces_that_are_up() {
    let Some((first, second)) = Namespace::pair() else { return };
    first.add_address("fe80::7");
    first.ip("link add down0 type veth peer name down1");
    first.ip("addr add 10.9.0.1/24 dev down0");
    let addresses = first.run(crate::host_addresses);
    for expected in ["127.0.0.1", "::1", "10.1.0.1", "fd00::1"] {
        assert!(addresses.contains(&super::address(expected)), "{expected} of {addresses:?}");
    }
    assert!(!addresses.contains(&super::address("10.9.0.1")), "its interface is down");
    let link_local = addresses.iter().find(|address| address.ip().to_string() == "fe80::7");
    assert_ne!(link_local.unwrap().scope_id(), 0);
    drop(second);
}
