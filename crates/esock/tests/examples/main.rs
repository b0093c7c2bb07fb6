//! The examples run, and do what they say.

#[expect(dead_code, reason = "its main function")]
#[path = "../../examples/diameter.rs"]
mod diameter;
#[expect(dead_code, reason = "its main function")]
#[path = "../../examples/echo_server.rs"]
mod echo_server;
#[expect(dead_code, reason = "its main function")]
#[path = "../../examples/failover.rs"]
mod failover;
#[expect(dead_code, reason = "its main function")]
#[path = "../../examples/original.rs"]
mod original;
#[expect(dead_code, reason = "its main function")]
#[path = "../../examples/supervised_client.rs"]
mod supervised_client;
#[expect(dead_code, reason = "its main function")]
#[path = "../../examples/two_owners.rs"]
mod two_owners;

use esock::{Backend, CloseReason, ConnectTo, Context, Endpoint, Supervision, UdpPort};
use std::net::Ipv4Addr;
use std::time::Duration;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("this hangs")
}

#[tokio::test]
async fn the_echo_server_echoes_and_the_supervised_client_greets_it() {
    let builder = || {
        let builder = Endpoint::builder().backend(Backend::Udp).udp_port(UdpPort::Ephemeral);
        builder.context(Context::new())
    };
    let server = builder().open().await.unwrap();
    let serving = tokio::spawn({
        let server = server.clone();
        async move { echo_server::serve(&server).await }
    });
    let client = builder().open().await.unwrap();
    let to = ConnectTo::new([Ipv4Addr::LOCALHOST], server.port()).encap_port(server.backend().udp_port.unwrap());
    let ended = soon(supervised_client::stay_connected(&client, to, Supervision::default(), 1)).await;
    assert_eq!(ended.unwrap(), CloseReason::Shutdown);
    soon(server.close()).await;
    soon(serving).await.unwrap();
}

#[tokio::test]
async fn two_owners_share_the_peers_of_an_endpoint() {
    let heard = soon(two_owners::run()).await.unwrap();
    assert_eq!(heard, ("thirty streams".to_owned(), "ten streams".to_owned()));
}

#[tokio::test]
async fn a_failed_path_costs_no_message() {
    let (failed, received) = soon(failover::run(200)).await.unwrap();
    assert_eq!((failed, received), (Ipv4Addr::LOCALHOST.into(), 200));
}

#[tokio::test]
async fn diameter_peers_exchange_their_capabilities() {
    assert_eq!(soon(diameter::run()).await.unwrap(), "server.example");
}

#[tokio::test]
async fn the_example_of_the_original_runs_line_by_line() {
    soon(original::run(30_411)).await.unwrap();
}
