//! Ten thousand idle associations on one endpoint over UDP, and what each costs.
//!
//! The allocator counts the live bytes of the process. What a pair of ends costs is the growth from the
//! moment when all endpoints are open; half of it is one end's.

use esock::{Association, Backend, Config, ConnectTo, Context, Endpoint, Owner, PathState, Receiver, UdpPort};
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What one end of an idle, dual-homed association may cost, in bytes.
const LIMIT: usize = 4096;

const ASSOCIATIONS: usize = 10_000;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

fn addresses() -> [Ipv4Addr; 2] {
    [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)]
}

fn builder(context: &Context) -> esock::EndpointBuilder {
    Endpoint::builder()
        .addresses(addresses())
        .backend(Backend::Udp)
        .udp_port(UdpPort::Ephemeral)
        .context(context.clone())
}

async fn connect_all(clients: &[Endpoint], to: &ConnectTo) -> Vec<(Association, Receiver)> {
    let mut ends = Vec::with_capacity(clients.len());
    for batch in clients.chunks(100) {
        let connecting: Vec<_> = batch
            .iter()
            .map(|client| {
                let (client, to) = (client.clone(), to.clone());
                tokio::spawn(async move { client.connect(to).await })
            })
            .collect();
        for connected in connecting {
            let (association, mut receiver) = connected.await.expect("it ends well").expect("it connects");
            // Its first event.
            while receiver.try_recv().is_some() {}
            ends.push((association, receiver));
        }
    }
    ends
}

/// Reads what there is until nothing more comes.
async fn read_events(owner: &mut Owner) {
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_millis(300), owner.recv()).await {}
}

async fn wait_until_confirmed(ends: &[(Association, Receiver)]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    for (association, _) in ends {
        while association.paths().iter().any(|path| path.state() != Some(PathState::Active)) {
            assert!(Instant::now() < deadline, "a path is not confirmed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_dual_homed_associations_cost_at_most_four_kilobytes_an_end() {
    let (servers, context) = (Context::new(), Context::new());
    let server = builder(&servers).port(5000).config(Config::default()).open().await.unwrap();
    let mut owner = server.register_owner(|_| true);
    let mut clients = Vec::with_capacity(ASSOCIATIONS);
    for number in 0..ASSOCIATIONS {
        clients.push(builder(&context).port(10_000 + number as u16).open().await.unwrap());
    }
    let to = ConnectTo::new(addresses(), 5000).encap_port(server.backend().udp_port.unwrap());

    let before = live();
    let began = Instant::now();
    let mut ends = connect_all(&clients, &to).await;
    let took = began.elapsed();
    read_events(&mut owner).await;
    wait_until_confirmed(&ends).await;
    for (_, receiver) in &mut ends {
        while receiver.try_recv().is_some() {}
    }
    read_events(&mut owner).await;
    assert_eq!((ends.len(), server.association_count()), (ASSOCIATIONS, ASSOCIATIONS));
    let each = (live() - before) / ASSOCIATIONS / 2;
    println!("{ASSOCIATIONS} dual-homed associations set up in {took:?}; an idle end costs {each} bytes");
    assert!(each <= LIMIT, "an idle end costs {each} bytes, more than {LIMIT}");

    let began = Instant::now();
    for number in (0..ASSOCIATIONS).step_by(97) {
        let port = 10_000 + number as u16;
        let found = server.find_association(addresses()[1], port).and_then(|weak| weak.upgrade()).unwrap();
        assert_eq!(found.peer_port(), port);
    }
    println!("{} look-ups took {:?}", ASSOCIATIONS.div_ceil(97), began.elapsed());
    drop(ends);
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.association_count() > 0 {
        assert!(Instant::now() < deadline, "{} associations do not end", server.association_count());
        read_events(&mut owner).await;
    }
}
