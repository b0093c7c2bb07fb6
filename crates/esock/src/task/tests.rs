use super::*;
use bytes::Bytes;
use esock_io::{Chosen, EndpointError, Impairment, Incoming, Transport, Turn};
use esock_proto::{
    Address, AssocEvent, AssocId, AssociationStats, Capabilities, Config, ConnectError, EndpointConfig, EndpointId,
    Message, NotFound, PathError, PathId, PathParameters, Peer, Rejected, SendOptions, State,
};
use std::fs::File;
use std::net::UdpSocket;
use std::process::Command;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A backend whose only socket is full, and that tells of its turns.
#[derive(Debug)]
struct Full {
    socket: UdpSocket,
    turns: UnboundedSender<()>,
}

impl Transport for Full {
    fn backend(&self) -> &Chosen {
        unreachable!()
    }
    fn capabilities(&self) -> Capabilities {
        unreachable!()
    }
    fn now(&self) -> Time {
        Time::ZERO
    }
    fn turn(&mut self, _: Time) -> io::Result<Turn> {
        let _ = self.turns.send(());
        Ok(Turn::default())
    }
    fn flush(&mut self, _: Time) -> Turn {
        Turn::default()
    }
    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(vec![self.socket.try_clone()?.into()])
    }
    fn is_blocked(&self) -> bool {
        true
    }
    fn blocked(&self) -> Vec<bool> {
        vec![true]
    }
    fn wants_transmit(&self) -> bool {
        true
    }
    fn poll_timeout(&self) -> Option<Time> {
        None
    }
    fn impairment(&mut self) -> Option<&mut Impairment> {
        None
    }
    fn open_endpoint(&mut self, _: EndpointConfig) -> Result<EndpointId, EndpointError> {
        unreachable!()
    }
    fn close_endpoint(&mut self, _: Time, _: EndpointId) {}
    fn endpoint_port(&self, _: EndpointId) -> Option<u16> {
        None
    }
    fn endpoint_addresses(&self, _: EndpointId) -> Vec<Address> {
        Vec::new()
    }
    fn set_accepting(&mut self, _: EndpointId, _: bool) {}
    fn poll_incoming(&mut self) -> Option<Incoming> {
        None
    }
    fn accept(&mut self, _: Time, _: Incoming) -> Option<AssocId> {
        None
    }
    fn refuse(&mut self, _: Time, _: Incoming, _: &[u8]) {}
    fn ignore(&mut self, _: Incoming) {}
    fn connect(&mut self, _: Time, _: EndpointId, _: &Peer, _: Option<Config>) -> Result<AssocId, ConnectError> {
        unreachable!()
    }
    fn send(&mut self, _: Time, _: AssocId, _: SendOptions, _: Bytes) -> Result<(), Rejected> {
        unreachable!()
    }
    fn recv(&mut self, _: AssocId) -> Option<Message> {
        None
    }
    fn ready_messages(&self, _: AssocId) -> usize {
        0
    }
    fn poll_event(&mut self) -> Option<AssocEvent> {
        None
    }
    fn shutdown(&mut self, _: Time, _: AssocId) -> Result<(), NotFound> {
        Err(NotFound)
    }
    fn abort(&mut self, _: Time, _: AssocId, _: &[u8]) -> Result<(), NotFound> {
        Err(NotFound)
    }
    fn release(&mut self, _: Time, _: AssocId) {}
    fn state(&self, _: AssocId) -> Option<State> {
        None
    }
    fn association(&self, _: Time, _: AssocId) -> Option<AssociationStats> {
        None
    }
    fn local_addresses(&self, _: AssocId) -> Vec<Address> {
        Vec::new()
    }
    fn association_count(&self, _: EndpointId) -> usize {
        0
    }
    fn find(&self, _: EndpointId, _: Address, _: u16) -> Option<AssocId> {
        None
    }
    fn set_primary(&mut self, _: Time, _: AssocId, _: PathId) -> Result<(), PathError> {
        unreachable!()
    }
    fn set_path_parameters(&mut self, _: Time, _: AssocId, _: PathId, _: PathParameters) -> Result<(), PathError> {
        unreachable!()
    }
    fn request_heartbeat(&mut self, _: Time, _: AssocId, _: PathId) -> Result<(), PathError> {
        unreachable!()
    }
}

#[test]
fn a_full_socket_that_cannot_be_watched_for_want_of_descriptors_is_tried_again() {
    const MARK: &str = "ESOCK_TEST_WITH_FEW_DESCRIPTORS";
    if std::env::var_os(MARK).is_none() {
        // In a process of its own, whose descriptors are nobody else's.
        let name = "task::tests::a_full_socket_that_cannot_be_watched_for_want_of_descriptors_is_tried_again";
        let own = std::env::current_exe().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n 64 && exec \"$0\" \"$@\""]).arg(own).args(["--exact", name]).env(MARK, "");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let (turns, mut told) = unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shard = Shard::over(Box::new(Full { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), turns }));
        // Somebody is about to open an endpoint: the task stays for him.
        shard.lock().opening = 1;
        let sockets = watch(&shard).unwrap();
        let mut files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        if cfg!(target_os = "linux") {
            // One is for the alarm.
            files.pop();
        }
        let three_turns = async {
            for _ in 0..3 {
                told.recv().await.unwrap();
            }
        };
        tokio::select! {
            ended = take_turns(&shard, &sockets) => panic!("it ends with {ended:?}"),
            () = three_turns => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("it does not try again"),
        }
    });
}
