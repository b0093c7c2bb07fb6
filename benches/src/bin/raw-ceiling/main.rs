//! What lifts the ceiling of native SCTP: packets of its protocol number from one network namespace to another, over a
//! veth pair, by every way in and out of the kernel that Linux has for them. No protocol runs; what arrives is counted.
//!
//! A process each time: `raw-ceiling BYTES SECONDS SENDER RECEIVER` prints the rate; without a pair all that make sense
//! run in turn, three times each, and make a table. Root is needed; the namespaces end with the process.

mod network;
mod packet;
mod ring;
mod socket;
mod tun;
mod uring;

use esock_benches::{Cores, End, alternate, median};
use network::Network;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Packets of a call.
const BATCH: usize = 64;

/// How often each pair runs.
const ROUNDS: usize = 3;

/// Something that sends as fast as it can.
trait Sender {
    /// Sends a batch, or what there is room for.
    fn send(&mut self);
}

/// Something that receives; it waits some milliseconds at most.
trait Receiver {
    /// The SCTP packets that have come.
    fn receive(&mut self) -> u64;
}

/// Who sends to whom, and what it shows.
const PAIRS: &[(&str, &str)] = &[
    ("raw", "raw"),
    ("raw-uring", "raw"),
    ("raw", "raw-uring"),
    ("packet", "raw"),
    ("packet-ring", "raw"),
    ("raw", "packet-ring"),
    ("packet", "packet-ring"),
    ("packet-ring", "packet-ring"),
    ("tun", "raw"),
    ("raw", "tun"),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match &words[..] {
        [] => all(),
        [bytes, seconds, sender, receiver] => match (bytes.parse(), seconds.parse()) {
            (Ok(bytes), Ok(seconds)) => one(bytes, Duration::from_secs_f64(seconds), sender, receiver),
            _ => Err("BYTES and SECONDS are numbers".to_owned()),
        },
        _ => Err("usage: raw-ceiling [BYTES SECONDS SENDER RECEIVER]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// All pairs, as a table.
fn all() -> Result<(), String> {
    println!("{}", tun::offloads()?);
    for bytes in [1400, 9000] {
        let mut runs: Vec<_> = PAIRS.iter().map(|pair| move || measured(bytes, pair)).collect();
        let mut candidates: Vec<&mut dyn FnMut() -> Result<f64, String>> =
            runs.iter_mut().map(|run| run as &mut dyn FnMut() -> Result<f64, String>).collect();
        println!("\n| packets of {bytes} bytes: sender | receiver | Gbit/s | spread |\n|---|---|--:|---|");
        for ((sender, receiver), rates) in PAIRS.iter().zip(alternate(ROUNDS, &mut candidates)) {
            let rates: Vec<f64> = rates.into_iter().collect::<Result<_, _>>()?;
            let (least, most) =
                (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
            println!("| {sender} | {receiver} | {:.2} | {least:.2}–{most:.2} |", median(rates));
        }
    }
    Ok(())
}

/// A pair in a process of its own.
fn measured(bytes: usize, (sender, receiver): &(&str, &str)) -> Result<f64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own).args([&bytes.to_string(), "0.5", sender, receiver]).output();
    let output = output.map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let rate = said.split_whitespace().next().and_then(|word| word.parse().ok());
    rate.ok_or_else(|| format!("{sender} to {receiver}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Measures a pair in this process.
fn one(bytes: usize, time: Duration, sender: &str, receiver: &str) -> Result<(), String> {
    let network = Network::new(bytes, receiver)?;
    let cores = Cores::Two;
    let (stop, network) = (AtomicBool::new(false), &network);
    let packets = std::thread::scope(|scope| {
        cores.pin(End::Second);
        // The receiver is there first.
        let mut receiver = network.at_receiver(|| receiver_named(receiver, network))?;
        let ready = std::sync::mpsc::sync_channel(1);
        let stop = &stop;
        scope.spawn(move || {
            cores.pin(End::First);
            // A TUN device stands in the receiver's namespace.
            let made = match sender {
                "tun" => network.at_receiver(|| sender_named(sender, bytes, network)),
                _ => network.at_sender(|| sender_named(sender, bytes, network)),
            };
            let mut sender = match made {
                Ok(sender) => sender,
                Err(error) => return drop(ready.0.send(Err(error))),
            };
            let _ = ready.0.send(Ok(()));
            while !stop.load(Ordering::Relaxed) {
                sender.send();
            }
        });
        let count_for = |receiver: &mut Box<dyn Receiver>, time: Duration| {
            let (began, mut packets) = (Instant::now(), 0);
            while began.elapsed() < time {
                packets += receiver.receive();
            }
            packets as f64 / began.elapsed().as_secs_f64()
        };
        let begun = ready.1.recv().map_err(|error| error.to_string()).and_then(|begun| begun);
        let rate = begun.map(|()| {
            count_for(&mut receiver, time / 4);
            count_for(&mut receiver, time)
        });
        stop.store(true, Ordering::Relaxed);
        rate
    })?;
    println!("{:.3} Gbit/s, {packets:.0} packets/s", packets * bytes as f64 * 8.0 / 1e9);
    Ok(())
}

fn sender_named(name: &str, bytes: usize, network: &Network) -> Result<Box<dyn Sender>, String> {
    Ok(match name {
        "raw" => Box::new(socket::RawSender::new(bytes, network)?),
        "raw-uring" => Box::new(uring::UringSender::new(bytes, network)?),
        "packet" => Box::new(packet::PacketSender::new(bytes, network)?),
        "packet-ring" => Box::new(ring::RingSender::new(bytes, network)?),
        "tun" => Box::new(tun::TunSender::new(bytes)?),
        _ => return Err(format!("no sender is called {name}")),
    })
}

fn receiver_named(name: &str, network: &Network) -> Result<Box<dyn Receiver>, String> {
    Ok(match name {
        "raw" => Box::new(socket::RawReceiver::new()?),
        "raw-uring" => Box::new(uring::UringReceiver::new()?),
        "packet-ring" => Box::new(ring::RingReceiver::new(network)?),
        "tun" => Box::new(tun::TunReceiver::new(network)?),
        _ => return Err(format!("no receiver is called {name}")),
    })
}
