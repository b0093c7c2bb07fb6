//! ncat and socat.

use crate::place;
use esock_interop::programs::Stage;

pub fn two_ncats_chat(stage: Stage) {
    let mut server = stage.start(&["ncat", "-v", "--sctp", "-l", "127.0.0.1", "6001"]);
    server.says("Listening");
    let mut client = stage.start(&["ncat", "-v", "--sctp", "127.0.0.1", "6001"]);
    client.says("Connected");
    for turn in 0..3 {
        client.tell(&format!("question {turn}"));
        server.says(&format!("question {turn}"));
        server.tell(&format!("answer {turn}"));
        client.says(&format!("answer {turn}"));
    }
    client.hush();
    // SCTP has no half-close: the end of the client's input is the end of the chat.
    client.signal("TERM");
    client.ends();
    server.ends();
    // Nobody listens any more.
    let mut late = stage.start(&["ncat", "-v", "--sctp", "127.0.0.1", "6001"]);
    late.says("refused");
    assert_eq!(late.ends(), Some(1));
    stage.was_ours(3, 2, 6);
}

pub fn socat_forks_for_each_connection(stage: Stage) {
    let mut server = stage.start(&["socat", "-d", "-d", "SCTP-LISTEN:6002,fork,reuseaddr", "EXEC:cat"]);
    server.says("listening");
    let mut clients: Vec<_> = (0..3).map(|_| stage.start(&["socat", "-", "SCTP:127.0.0.1:6002"])).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.tell(&format!("number {number}"));
        client.says(&format!("number {number}"));
    }
    for client in &mut clients {
        client.hush();
        client.ends_well();
    }
    server.signal("TERM");
    server.ends();
    stage.was_ours(7, 6, 6);
}

pub fn socat_carries_a_file_whole(stage: Stage) {
    let (from, to) = (place(&format!("from-{}", stage.carrier.name())), place(&format!("to-{}", stage.carrier.name())));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(&from, &bytes).unwrap();
    let target = format!("CREATE:{}", to.display());
    let mut server = stage.start(&["socat", "-d", "-d", "-u", "SCTP6-LISTEN:6003", &target]);
    server.says("listening");
    stage.run(&["socat", "-u", &from.display().to_string(), "SCTP:127.0.0.1:6003"]);
    server.ends_well();
    assert_eq!(std::fs::read(&to).unwrap().len(), bytes.len());
    assert!(std::fs::read(&to).unwrap() == bytes, "the file has changed on its way");
    stage.was_ours(3, 2, 100);
}
