//! `esock listen`

use crate::args::ListenArgs;
use crate::broadcast::{self, Audience};
use crate::console::{Output, Typed, say};
use crate::exit::{Exit, Failure};
use crate::hosts::{self, bracketed};
use crate::interrupt::Interrupt;
use crate::open;
use crate::session::{self, Inlet, Manner};
use esock::{Association, CloseReason, Endpoint, Receiver, UdpPort};
use tokio::task::JoinSet;

/// Listens, and serves one peer or many.
pub async fn run(args: &ListenArgs, output: Output, interrupt: Interrupt) -> Result<Exit, Failure> {
    let common = &args.common;
    let (names, port) = args.place()?;
    let local = hosts::resolve(&names).await?;
    let udp_port = UdpPort::Listen(common.udp_port.unwrap_or(esock::ENCAPSULATION_PORT));
    let endpoint = open::endpoint(&local, port, udp_port, common).await?;
    interrupt.listen();
    open::tell_listening(&endpoint);

    let manner = Manner { options: common.send_options(), output, verbose: common.verbose, interrupt };
    let typed = if common.recv_only { Typed::nothing() } else { Typed::read() };
    let audience = broadcast::start(typed.lines);
    let exit = if args.keep_open {
        serve_many(&endpoint, &audience, &manner).await
    } else {
        serve_one(&endpoint, &audience, &manner).await
    };
    endpoint.close().await;
    exit
}

fn gone(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, error.to_string())
}

/// Serves the first peer that comes; all others are refused.
async fn serve_one(endpoint: &Endpoint, audience: &Audience, manner: &Manner) -> Result<Exit, Failure> {
    let mut owner = endpoint.register_owner(|candidate| candidate.associations == 0);
    let (association, received) = loop {
        let event = tokio::select! {
            event = owner.recv() => event.ok_or_else(|| gone("the endpoint has been closed"))?,
            () = manner.interrupt.once() => return Ok(Exit::Interrupted),
        };
        match event.into_received() {
            Some(first) => break first,
            // Something about the endpoint as a whole.
            None => continue,
        }
    };
    let name = name_of(&association);
    let inlet = Inlet::Owner { owner, first: Some(received) };
    let reason = session::serve(association, inlet, audience.join(), &name, manner).await?;
    Ok(Exit::of(&reason))
}

async fn serve_many(endpoint: &Endpoint, audience: &Audience, manner: &Manner) -> Result<Exit, Failure> {
    let mut serving: JoinSet<Result<CloseReason, Failure>> = JoinSet::new();
    loop {
        tokio::select! {
            accepted = endpoint.accept() => {
                let (association, receiver) = accepted.map_err(gone)?;
                serving.spawn(serve(association, receiver, audience.clone(), manner.clone()));
            }
            Some(ended) = serving.join_next() => tell(ended),
            () = audience.dismissed() => break,
            () = manner.interrupt.once() => break,
        }
    }
    while let Some(ended) = serving.join_next().await {
        tell(ended);
    }
    Ok(if manner.interrupt.is_final() { Exit::Interrupted } else { Exit::Well })
}

async fn serve(
    association: Association,
    receiver: Receiver,
    audience: Audience,
    manner: Manner,
) -> Result<CloseReason, Failure> {
    let name = name_of(&association);
    let inlet = Inlet::Receiver(receiver);
    session::serve(association, inlet, audience.join(), &name, &manner).await
}

/// How one of many ended has been told already; what went wrong here has not.
fn tell(ended: Result<Result<CloseReason, Failure>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(_)) => {}
        Ok(Err(failure)) => say(&failure.to_string()),
        Err(error) => say(&format!("a task failed: {error}")),
    }
}

/// The peer's address and port.
fn name_of(association: &Association) -> String {
    let address =
        association.peer_addresses().first().map_or_else(|| "?".to_owned(), |address| bracketed(&address.to_string()));
    format!("{address}:{}", association.peer_port())
}
