//! The stall detector of the core notices when the stack stands still by its own fault.

use esock_proto::{Config, Encapsulation, EndpointConfig, Fault, Faults, Peer, SendOptions, StackConfig};
use esock_sim::{LinkConfig, Network};
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What the detector says of a sender with this fault, whose peer does not read.
fn detected(fault: Option<Fault>) -> Option<String> {
    let mut network = Network::new(1);
    let mut addresses = Vec::new();
    for host in 0..2u8 {
        let mut config = Config::default();
        config.pmtud = false;
        config.receive_window = 8000;
        config.faults = fault.map_or_else(Faults::default, Faults::of);
        let own = Ipv4Addr::new(10, 0, 0, host + 1).into();
        addresses.push(own);
        let endpoint = EndpointConfig { port: 5000, addresses: vec![own], host_addresses: Vec::new(), config };
        network.add_host(StackConfig::default(), endpoint);
    }
    network.link(0, addresses[1], LinkConfig::default());
    network.link(1, addresses[0], LinkConfig::default());
    let peer = Peer { addresses: vec![addresses[1]], port: 5000, encapsulation: Encapsulation::Default };
    let endpoint = network.hosts[0].endpoint;
    let client = network.hosts[0].stack.connect(network.now, endpoint, &peer, None).expect("a sound scenario");
    let run = catch_unwind(AssertUnwindSafe(|| {
        network.touch(0);
        network.run_until(network.now + Duration::from_secs(1));
        // One after the other: the window closes with nothing in flight.
        for _ in 0..20 {
            let (now, message) = (network.now, vec![1; 1000].into());
            network.hosts[0].stack.send(now, client, SendOptions::default(), message).expect("room");
            network.touch(0);
            network.run_until(now + Duration::from_millis(300));
        }
        let stats = network.hosts[0].stack.association(network.now, client).expect("it is there");
        let stall = network.hosts[0].stack.stalled(client).map(str::to_owned);
        assert_eq!(stall.is_some(), stats.counters.stalls > 0, "what is detected is counted");
        stall
    }));
    // With debug assertions the stack itself cries out.
    run.unwrap_or_else(|panic| panic.downcast_ref::<String>().cloned())
}

#[test]
fn a_sender_that_stands_still_by_its_own_fault_is_detected() {
    assert_eq!(detected(None), None);
    std::panic::set_hook(Box::new(|_| {}));
    for (fault, says) in
        [(Fault::T3NotStarted, "no T3-rtx runs"), (Fault::WindowNotProbed, "data waits, and nothing is in flight")]
    {
        let found = detected(Some(fault)).unwrap_or_default();
        assert!(found.contains(says), "{fault:?}: {found}");
    }
    let _ = std::panic::take_hook();
}
