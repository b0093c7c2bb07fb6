//! Which endpoints share sockets, and how ports are given back.

use crate::net::*;
use esock::{Backend, Config, Context, Endpoint, OpenError, Preset, Protocol, UdpPort};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_of_one_context_share_their_udp_port() {
    let sockets = Context::new();
    let on = |sockets: &Context| builder().context(sockets.clone());
    let (one, two) = (on(&sockets).open().await.unwrap(), on(&sockets).open().await.unwrap());
    let other = builder().open().await.unwrap();
    assert_eq!(one.backend().udp_port, two.backend().udp_port);
    assert_ne!(one.backend().udp_port, other.backend().udp_port);
    assert_ne!(one.port(), two.port());
    // They may even talk to each other.
    let ((near, _near_rx), (_far, mut far_rx)) = connect(&one, &two).await;
    near.send(on_stream(0), "next door").await.unwrap();
    assert_eq!(message(&mut far_rx).await.payload, "next door");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sctp_port_is_had_once_per_address() {
    let sockets = Context::new();
    let open = |address: u8, port| builder_on([v4(address)]).port(port).context(sockets.clone()).open();
    let first = open(1, 5000).await.unwrap();
    let _beside = open(2, 5000).await.unwrap();
    let error = open(1, 5000).await.unwrap_err();
    assert!(error.to_string().contains("5000"), "{error}");
    let everywhere = builder_on([]).any().port(5000).context(sockets.clone()).open().await;
    assert!(everywhere.unwrap_err().to_string().contains("5000"));
    // The ports of another context are its own.
    let _elsewhere = builder().port(5000).open().await.unwrap();
    soon(first.close()).await;
    let _again = open(1, 5000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_port_a_random_free_one_is_taken() {
    let sockets = Context::new();
    let mut ports = std::collections::HashSet::new();
    let mut endpoints = Vec::new();
    for _ in 0..200 {
        let endpoint = builder().port(0).context(sockets.clone()).open().await.unwrap();
        assert!(endpoint.port() >= 49152, "{}", endpoint.port());
        assert!(ports.insert(endpoint.port()));
        endpoints.push(endpoint);
    }
}

/// A UDP port that was free a moment ago.
fn free_port() -> u16 {
    std::net::UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_udp_port_that_is_taken_is_an_error_for_who_listens_and_none_for_who_prefers() {
    let port = free_port();
    let first = builder().udp_port(UdpPort::Listen(port)).open().await.unwrap();
    assert_eq!(first.backend().udp_port, Some(port));
    let error = builder().udp_port(UdpPort::Listen(port)).open().await.unwrap_err();
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    let second = builder().udp_port(UdpPort::Prefer(port)).open().await.unwrap();
    assert_ne!(second.backend().udp_port, Some(port));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_endpoint_gives_its_ports_back_though_its_handle_is_kept() {
    let port = free_port();
    let sockets = Context::new();
    let open = || builder().port(6000).udp_port(UdpPort::Listen(port)).context(sockets.clone()).open();
    let mut kept = Vec::new();
    for round in 0..20 {
        let server = open().await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let client = endpoint().await;
        let (near, (_, mut far_rx)) = connect(&client, &server).await;
        near.0.send(on_stream(0), "hello").await.unwrap();
        assert_eq!(message(&mut far_rx).await.payload, "hello");
        soon(server.close()).await;
        kept.push((server, near, far_rx));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_come_and_go_quickly_on_the_same_sockets() {
    let sockets = Context::new();
    let server = endpoint().await;
    let accepting = tokio::spawn({
        let server = server.clone();
        async move {
            loop {
                let Ok((association, _)) = server.accept().await else { return };
                tokio::spawn(async move { association.closed().await });
            }
        }
    });
    for round in 0..200 {
        let client = builder().context(sockets.clone()).open().await.unwrap();
        if round % 3 == 0 {
            continue;
        }
        let (association, _receiver) = soon(client.connect(to(&server))).await.unwrap();
        if round % 3 == 1 {
            soon(association.shutdown()).await;
        }
    }
    soon(server.close()).await;
    soon(accepting).await.unwrap();
}

#[test]
fn each_runtime_has_sockets_of_its_own() {
    let sockets = Context::new();
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let on = || builder().context(sockets.clone());
            let (client, server) = (on().open().await.unwrap(), on().open().await.unwrap());
            let ((near, _near_rx), (_far, mut far_rx)) = connect(&client, &server).await;
            near.send(on_stream(0), "hello").await.unwrap();
            assert_eq!(message(&mut far_rx).await.payload, "hello");
        });
    }
}

/// A waker that uses the API: nothing may be locked when it is called.
struct Curious(Endpoint, AtomicBool);

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        assert!(self.0.association_count() <= 1);
        self.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn whoever_is_woken_may_call_at_once() {
    must_end(|| {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut pair = Pair::new().await;
            let curious = Arc::new(Curious(pair.server.clone(), AtomicBool::new(false)));
            let waker = Waker::from(curious.clone());
            // It waits with that waker, whatever else there was to tell.
            while std::pin::pin!(pair.far_rx.recv()).poll(&mut std::task::Context::from_waker(&waker)).is_ready() {}
            pair.near.send(on_stream(0), "wake up").await.unwrap();
            // Looked at without the lock, which it may hold for ever.
            until("it was woken", || curious.1.load(Ordering::SeqCst)).await;
            assert_eq!(message(&mut pair.far_rx).await.payload, "wake up");
        });
    });
}

/// A waker that holds an endpoint, perhaps its last handle.
struct Holds(#[expect(dead_code, reason = "held, not used")] Endpoint);

impl Wake for Holds {
    fn wake(self: Arc<Self>) {}
}

/// Polls a future until it waits.
fn wait_with<T>(waker: &Waker, mut future: impl AsyncFnMut() -> T) {
    while std::pin::pin!(future()).poll(&mut std::task::Context::from_waker(waker)).is_ready() {}
}

#[test]
fn a_waker_that_holds_the_last_handle_of_an_endpoint_goes_without_a_deadlock() {
    must_end(|| {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let sockets = Context::new();
            let mut pair = Pair::with([builder().context(sockets.clone()), builder()]).await;
            let holding = async || {
                let held = builder().context(sockets.clone()).open().await.unwrap();
                Waker::from(Arc::new(Holds(held)))
            };
            // Another one takes its place.
            wait_with(&holding().await, async || pair.near_rx.recv().await);
            wait_with(Waker::noop(), async || pair.near_rx.recv().await);
            wait_with(&holding().await, async || pair.near_rx.recv_many(&mut Vec::new(), 1).await);
            wait_with(Waker::noop(), async || pair.near_rx.recv_many(&mut Vec::new(), 1).await);
            let mut owner = pair.client.register_owner(|_| true);
            wait_with(&holding().await, async || owner.recv().await);
            wait_with(Waker::noop(), async || owner.recv().await);
            let mut events = pair.client.events();
            wait_with(&holding().await, async || events.recv().await);
            wait_with(Waker::noop(), async || events.recv().await);
            let mut closed = std::pin::pin!(pair.near.closed());
            wait_with(&holding().await, async || closed.as_mut().await);
            wait_with(Waker::noop(), async || closed.as_mut().await);
            // Whoever waits with it gives up.
            wait_with(&holding().await, async || pair.client.accept().await);
            wait_with(&holding().await, async || owner.recv().await);
            drop(owner);
        });
    });
}

#[test]
fn handles_and_futures_may_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    fn check_future<T: Send>(_: &T) {}
    check::<Endpoint>();
    check::<esock::Association>();
    check::<esock::Receiver>();
    check::<esock::Owner>();
    check::<esock::Path>();
    check::<Context>();
    check_future(&builder().open());
}

#[tokio::test]
async fn what_will_not_work_well_is_among_the_warnings() {
    let warnings = async |config: Config| {
        builder_on([v4(1), v4(2)]).config(config).open().await.unwrap().backend().warnings.clone()
    };
    assert_eq!(warnings(Preset::Sigtran.config()).await, [""; 0]);
    let mut config = Preset::Sigtran.config();
    config.assoc_max_retrans = 5;
    let told = warnings(config).await;
    assert!(told.len() == 1 && told[0].starts_with("assoc_max_retrans: 5 is above 4"), "{told:?}");
}

#[tokio::test]
async fn wildcards_by_name_overlap_with_every_address() {
    for protocol in [Protocol::Tcp, Protocol::Sctp] {
        let context = Context::new();
        let open = async |address: &str, port| {
            let address: std::net::IpAddr = address.parse().unwrap();
            let udp = Endpoint::builder().backend(Backend::Udp).udp_port(UdpPort::Ephemeral);
            let builder = if protocol == Protocol::Tcp { Endpoint::builder().protocol(protocol) } else { udp };
            builder.context(context.clone()).address(address).port(port).open().await
        };
        for first in ["127.0.0.1", "0.0.0.0", "::"] {
            let first = open(first, 0).await.unwrap();
            for again in ["0.0.0.0", "::", "127.0.0.1", "::ffff:127.0.0.1"] {
                match open(again, first.port()).await {
                    Err(OpenError::AlreadyOpen(known)) => assert_eq!(known, first),
                    other => panic!("{protocol} {again}: {other:?}"),
                }
            }
        }
    }
}

/// What this thread has computed so far.
#[cfg(target_os = "linux")]
fn computed() -> std::time::Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    std::time::Duration::from_nanos(told.split_whitespace().next().unwrap().parse().unwrap())
}

/// What this thread computes while its tasks rest.
#[cfg(target_os = "linux")]
async fn computed_in(rest: std::time::Duration) -> std::time::Duration {
    let before = computed();
    tokio::time::sleep(rest).await;
    computed() - before
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_runtime_that_polls_busily_sleeps_when_nothing_has_come_for_so_long() {
    // Without fast heartbeats, which keep it awake.
    let open = |sockets: &Context, time| {
        builder().config(Config::default()).context(sockets.clone()).busy_poll(millis(time)).open()
    };
    let sockets = Context::new();
    let (one, two) = (open(&sockets, 10).await.unwrap(), open(&Context::new(), 10).await.unwrap());
    let ((near, _near_rx), (_far, mut far_rx)) = soon(connect(&one, &two)).await;
    for _ in 0..100 {
        near.send(on_stream(0), "there").await.unwrap();
        assert_eq!(message(&mut far_rx).await.payload, "there");
    }
    tokio::time::sleep(millis(500)).await;
    let resting = computed_in(millis(400)).await;
    assert!(resting < millis(200), "{resting:?} of 400 ms");

    // Whoever wants it most decides for all that share the sockets.
    let _three = open(&sockets, 60_000).await.unwrap();
    near.send(on_stream(0), "and here").await.unwrap();
    assert_eq!(message(&mut far_rx).await.payload, "and here");
    let busy = computed_in(millis(200)).await;
    assert!(busy > millis(10), "{busy:?} of 200 ms");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_runtime_polls_busily_over_tcp_too() {
    let open = |time| {
        let builder = Endpoint::builder().protocol(Protocol::Tcp).address(v4(1)).context(Context::new());
        builder.busy_poll(millis(time)).open()
    };
    let (one, two) = (open(60_000).await.unwrap(), open(0).await.unwrap());
    let to = esock::ConnectTo::new(two.addresses().iter().copied(), two.port());
    let (far, near) = soon(async { tokio::join!(two.accept(), one.connect(to)) }).await;
    let ((near, _near_rx), (_far, mut far_rx)) = (near.unwrap(), far.unwrap());
    near.send(on_stream(0), "there").await.unwrap();
    assert_eq!(message(&mut far_rx).await.payload, "there");
    let busy = computed_in(millis(200)).await;
    assert!(busy > millis(10), "{busy:?} of 200 ms");
}
