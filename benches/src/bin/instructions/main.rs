//! What is done under callgrind by `cargo xtask instructions`: each scenario counts in [`counted_region`] alone, and
//! ends with [`scenario_done`], of which callgrind makes a file each. Times vary, counts do not.
#![forbid(unsafe_code)]

use bytes::Bytes;
use esock_benches::lab::{Lab, config};
use esock_proto::{Config, SendOptions};
use std::hint::black_box;
use std::time::Duration;

/// Callgrind counts while it is in here.
#[inline(never)]
fn counted_region(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// Callgrind writes down what was counted, and begins at zero, when this is called. `per`: what the count is divided by.
#[inline(never)]
fn scenario_done(name: &str, per: usize) {
    println!("{per} {name}");
}

fn main() {
    set_up_associations();
    send_and_receive("1,400-byte packet", 16 << 10, 200);
    send_and_receive("64-byte message", 64, 5_000);
    for associations in [10, 2_000] {
        among(associations);
    }
}

fn set_up_associations() {
    const COUNT: usize = 500;
    let mut lab = Lab::new(2 * COUNT, 2, &Config::default());
    // Tables grow in the beginning.
    lab.set_up(COUNT);
    counted_region(&mut || (0..COUNT).for_each(|_| lab.set_up(1)));
    scenario_done("set up an association of two paths, both ends", COUNT);
}

/// Messages one way; the three ways of a packet are counted each.
fn send_and_receive(what: &str, message_bytes: usize, messages: usize) {
    let mut lab = Lab::new(1, 1, &config(1400));
    lab.set_up(1);
    let message = Bytes::from(vec![7; message_bytes]);
    // Slow start, and buffers that grow.
    for _ in 0..10 {
        transfer(&mut lab, &message, messages, |work, _| work());
    }
    for part in ["send", "receive", "acknowledge"] {
        let packets =
            transfer(&mut lab, &message, messages, |work, at| if at == part { counted_region(work) } else { work() });
        let per = if message_bytes > 1000 { packets } else { messages };
        scenario_done(&format!("{part} a {what}"), per);
    }
}

/// Sends messages, receives them, and takes the SACKs, until all have arrived; says how many packets there were.
fn transfer(lab: &mut Lab, message: &Bytes, messages: usize, mut part: impl FnMut(&mut dyn FnMut(), &str)) -> usize {
    lab.now = lab.now + Duration::from_millis(10);
    let (now, sender, receiver) = (lab.now, lab.a.associations[0], lab.b.associations[0]);
    let (mut received, mut packets) = (0, 0);
    let Lab { a, b, packets: batch, .. } = lab;
    let mut queue = || {
        for _ in 0..messages {
            a.stack.send(now, sender, SendOptions::default(), message.clone()).expect("there is room");
        }
    };
    part(&mut queue, "send");
    while received < messages {
        part(&mut || a.poll(now, batch), "send");
        packets += batch.count();
        let mut receive = || {
            b.handle(now, batch);
            while let Some(message) = b.stack.recv(now, receiver) {
                black_box(message);
                received += 1;
            }
        };
        part(&mut receive, "receive");
        b.poll(now, batch);
        part(&mut || a.handle(now, batch), "acknowledge");
    }
    packets
}

/// A message on each of ten associations, and what it brings about, among many that are idle; and what those cost.
fn among(associations: usize) {
    const ROUNDS: usize = 20;
    let mut lab = Lab::new(associations, 2, &Config::default());
    while lab.a.associations.len() < associations {
        lab.set_up(associations.min(100));
    }
    lab.pass(Duration::from_secs(10));
    let message = Bytes::from(vec![7; 64]);
    let active: Vec<usize> = (0..10).map(|number| number * associations / 10).collect();
    let exchange = |lab: &mut Lab| {
        for number in &active {
            let sender = lab.a.associations[*number];
            lab.a.stack.send(lab.now, sender, SendOptions::default(), message.clone()).expect("there is room");
            lab.settle();
            assert!(lab.b.stack.recv(lab.now, lab.b.associations[*number]).is_some(), "it arrives");
        }
    };
    exchange(&mut lab);
    counted_region(&mut || (0..ROUNDS).for_each(|_| exchange(&mut lab)));
    scenario_done(&format!("a message and its SACK, among {associations} associations"), ROUNDS * active.len());
    if associations > 1000 {
        counted_region(&mut || {
            lab.pass(Duration::from_secs(60));
        });
        scenario_done("a minute of an idle association of two paths, both ends", associations);
    }
}
