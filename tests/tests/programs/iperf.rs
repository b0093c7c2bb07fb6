//! iperf3.

use esock_interop::programs::{Program, Stage};

pub fn iperf3_measures_both_directions_many_streams_and_many_associations(stage: Stage) {
    let seconds = std::env::var("ESOCK_IPERF_SECONDS").unwrap_or_else(|_| "1".to_owned());
    // iperf3 3.12 takes the number of streams for the bandwidth too, unless that is given after it.
    let cases: [&[&str]; 5] = [&[], &["-R"], &["--nstreams", "8", "-b", "0"], &["-P", "4"], &["-6"]];
    for options in cases {
        let mut server = stage.start(&["iperf3", "-s", "-1"]);
        server.says("Server listening");
        let host = if options == ["-6"] { "::1" } else { "127.0.0.1" };
        let words = [&["iperf3", "--sctp", "-c", host, "-t", &seconds], options].concat();
        let mut client = stage.start(&words);
        let rate = done(&mut client);
        println!("{}: iperf3 --sctp {}: {rate}", stage.carrier.name(), options.join(" "));
        server.ends_well();
    }
    stage.was_ours(2 * cases.len() as u64, 16, 100);
}

/// That iperf3 came to its end, and both sides have seen data; the receiver's line.
pub fn done(client: &mut Program) -> String {
    client.ends_well();
    let said = client.transcript();
    let line = |who: &str| said.lines().rfind(|line| line.ends_with(who)).unwrap_or_default().trim().to_owned();
    for who in ["sender", "receiver"] {
        assert!(line(who).contains("bits/sec") && !line(who).contains(" 0.00 bits/sec"), "{who}: {said}");
    }
    assert!(said.contains("iperf Done."), "{said}");
    line("receiver")
}
