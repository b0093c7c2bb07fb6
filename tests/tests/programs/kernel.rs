//! Programs over esock, and the same programs on the Linux kernel's SCTP, in the User-Mode Linux guest.

use crate::python::python;
use crate::{iperf, place, source};
use esock_interop::capture::Capture;
use esock_interop::lab::Lab;
use esock_interop::line::Lines;
use esock_interop::programs::{Carrier, Stage};
use std::time::{Duration, Instant};

/// Our address, and the guest's.
const US: &str = "10.71.0.1";
const GUEST: &str = "10.71.0.3";

/// The same for IPv6.
const US_V6: &str = "fd71::1";
const GUEST_V6: &str = "fd71::3";

/// How long something may take there: it has one slow processor.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program in the guest.
struct Guest(Lines);

impl Guest {
    /// Starts a command of a shell, whose output is told line by line.
    fn start(lab: &mut Lab, tag: &str, command: &str) -> Self {
        let script = place(tag);
        // A program that is killed in the middle of a line leaves it unended: what others say next would be part of it.
        let text = format!(
            "export PYTHONUNBUFFERED=1\nset -o pipefail\n\
             {{ ({command}) 2>&1 </dev/null; code=$?; echo; exit $code; }} | \
             sed -u 's/[[:space:]]/_/g; s/^/@{tag} event=said text=/'\n"
        );
        std::fs::write(&script, text).unwrap();
        Self(lab.command_in_guest(tag, &format!("bash {}", script.display())))
    }

    /// A server, which is ready when it says `ready`. It ends by itself, so that the guest has nobody left behind.
    fn serve(lab: &mut Lab, tag: &str, command: &str, ready: &str) -> Self {
        let mut server = Self::start(lab, tag, &format!("timeout -s KILL 60 stdbuf -oL -eL {command}"));
        server.says(ready);
        server
    }

    fn says(&mut self, text: &str) {
        let text = text.replace(' ', "_");
        let deadline = Instant::now() + PATIENCE;
        while !self.0.wait("event=said", deadline).value("text").is_some_and(|said| said.contains(&text)) {}
    }

    fn ends_well(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.last("event=exit").is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let code = self.0.last("event=exit").map(|exit| exit.number("code"));
        assert_eq!(code, Some(0), "{}", self.0.transcript());
    }
}

/// Runs a test between a stage and the guest, with every packet judged.
fn between(name: &str, carrier: Carrier, test: fn(&Stage, &mut Lab, &str)) {
    let Some(mut lab) = Lab::enter(name, env!("CARGO_TARGET_TMPDIR"), env!("CARGO_BIN_EXE_esock-peer")) else { return };
    let name = format!("{name}-{}", carrier.name());
    let port = if carrier == Carrier::Udp { "9899" } else { "0" };
    lab.kernel();
    lab.set_in_guest("net.sctp.encap_port", port);
    let file = lab.file(&name).with_extension("pcapng");
    let capture = Capture::start(&lab.network, &file, None);
    let stage = Stage::new(&lab.network.us, carrier, &name);
    test(&stage, &mut lab, &name);
    // Servers that are left there keep their ports.
    let left = "sctp_test|sctp_darn|sctp_status|socat|python3|iperf3";
    let mut killed = lab.command_in_guest(&format!("{name}-end"), &format!("pkill -KILL -x {left}"));
    let deadline = Instant::now() + PATIENCE;
    killed.wait("event=exit", deadline);
    let report = stage.emptied();
    assert!(report.number("associations ever") > 0, "{}", report.text);
    let verdict = capture.finish_all();
    verdict.expect_packets(20, carrier == Carrier::Udp);
    lab.set_in_guest("net.sctp.encap_port", "0");
}

macro_rules! with_the_kernel {
    ($($name:ident)*) => {
        mod over_udp { $(
            #[test]
            fn $name() { super::between(stringify!($name), super::Carrier::Udp, super::$name); }
        )* }
        mod over_raw_ip { $(
            #[test]
            fn $name() { super::between(stringify!($name), super::Carrier::Raw, super::$name); }
        )* }
    };
}

with_the_kernel! {
    lksctp_tools iperf3 gen_sctp pysctp ncat_and_socat those_who_are_killed
    large_messages autoclose v6_only restarts many_sockets
}

fn lksctp_tools(stage: &Stage, lab: &mut Lab, name: &str) {
    let tag = |part: &str| format!("{name}-{part}");
    let mut server = Guest::serve(lab, &tag("test"), &format!("sctp_test -H {GUEST} -P 5001 -l"), "Receiving packets");
    stage.run(&["sctp_test", "-H", US, "-P", "5002", "-h", GUEST, "-p", "5001", "-s", "-x", "1"]);
    server.says("SHUTDOWN_COMPLETE");

    let mut server = stage.start(&["sctp_test", "-H", US, "-P", "5003", "-l"]);
    server.says("Receiving packets");
    let client = format!("sctp_test -H {GUEST} -P 5004 -h {US} -p 5003 -s -x 1");
    Guest::start(lab, &tag("client"), &client).ends_well();
    server.says("Data 1 bytes");
    server.says("SHUTDOWN_COMPLETE");
    server.signal("KILL");

    let mut listener = Guest::serve(lab, &tag("darn"), &format!("sctp_darn -H {GUEST} -P 7001 -l"), "listening");
    let mut talker = stage.start(&["sctp_darn", "-H", US, "-P", "7002", "-h", GUEST, "-p", "7001", "-s", "-I"]);
    talker.says("ready to send");
    for size in ["10", "3000"] {
        talker.tell(&format!("snd={size}"));
        listener.says(&format!("DATA({size})"));
    }
    talker.tell("shutdown");
    talker.says("Successfully SHUTDOWN");
    listener.says("SHUTDOWN_COMP");
    talker.kill_all();

    let mut server = stage.start(&["sctp_status", "-H", US, "-P", "7005", "-l"]);
    stage.listens(7005);
    // Its child, which asks for ever, is killed with it: alone it would keep the guest's processor.
    let client = format!("timeout -s KILL 3 sctp_status -H {GUEST} -P 7006 -h {US} -p 7005 -s -x 0 -c 0");
    Guest::start(lab, &tag("status"), &client);
    server.says("ESTABLISHED");
    server.kill_all();
}

fn iperf3(stage: &Stage, lab: &mut Lab, name: &str) {
    for (number, options) in [&["-n", "2M"][..], &["-R", "-n", "2M"]].into_iter().enumerate() {
        let mut server = Guest::serve(lab, &format!("{name}-{number}"), "iperf3 -s -1", "Server listening");
        let words = [&["iperf3", "--sctp", "-c", GUEST], options].concat();
        let rate = iperf::done(&mut stage.start(&words));
        println!("{}: iperf3 against Linux, {}: {rate}", stage.carrier.name(), options.join(" "));
        server.ends_well();
    }
    let mut server = stage.start(&["iperf3", "-s", "-1"]);
    server.says("Server listening");
    let client = format!("iperf3 --sctp -c {US} -n 2M");
    Guest::start(lab, &format!("{name}-client"), &client).ends_well();
    server.ends_well();
}

fn gen_sctp(stage: &Stage, lab: &mut Lab, name: &str) {
    let script = source("gen_sctp.escript");
    let server = format!("escript {script} server 4001");
    let mut server = Guest::serve(lab, &format!("{name}-server"), &server, "listening");
    stage.run(&["escript", &script, "client", GUEST, "4001"]);
    server.says("server done");

    let mut server = stage.start(&["escript", &script, "server", "4002"]);
    server.says("listening");
    let client = format!("escript {script} client {US} 4002");
    Guest::start(lab, &format!("{name}-client"), &client).ends_well();
    server.ends_well();
}

fn pysctp(stage: &Stage, lab: &mut Lab, name: &str) {
    let (python, script) = (python(), source("with_pysctp.py"));
    let server = format!("{python} {script} one-to-many server {GUEST} 6101");
    let mut server = Guest::serve(lab, &format!("{name}-server"), &server, "listening");
    stage.run(&[&python, &script, "one-to-one", "client", GUEST, "6101"]);
    server.says("server done");

    let mut server = stage.start(&[&python, &script, "one-to-one", "server", US, "6102"]);
    server.says("listening");
    let client = format!("{python} {script} one-to-many client {US} 6102");
    Guest::start(lab, &format!("{name}-client"), &client).ends_well();
    server.ends_well();
}

fn ncat_and_socat(stage: &Stage, lab: &mut Lab, name: &str) {
    let tag = |part: &str| format!("{name}-{part}");
    let echo = "socat -d -d SCTP-LISTEN:6002,fork,reuseaddr EXEC:cat";
    let _server = Guest::serve(lab, &tag("echo"), echo, "listening");
    for word in ["first", "second"] {
        let mut client = stage.start(&["socat", "-", &format!("SCTP:{GUEST}:6002")]);
        client.tell(word);
        client.says(word);
        client.hush();
        client.ends_well();
    }
    let mut client = stage.start(&["ncat", "-v", "--sctp", GUEST, "6002"]);
    client.says("Connected");
    client.tell("a third");
    client.says("a third");
    client.signal("TERM");
    client.ends();
    // Nobody listens there.
    let mut client = stage.start(&["ncat", "-v", "--sctp", GUEST, "6999"]);
    client.says("refused");
    client.ends();

    let mut server = stage.start(&["socat", "-d", "-d", "SCTP-LISTEN:6003,fork,reuseaddr", "EXEC:cat"]);
    server.says("listening");
    let client = format!("(echo from Linux; sleep 0.5) | socat - SCTP:{US}:6003");
    let mut client = Guest::start(lab, &tag("client"), &client);
    client.says("from Linux");
    client.ends_well();
    server.signal("TERM");
    server.ends();
}

fn those_who_are_killed(stage: &Stage, lab: &mut Lab, name: &str) {
    let script = source("sockets.py");
    let tag = |part: &str| format!("{name}-{part}");
    let mut server = stage.start(&["python3", &script, "forking-server", US, "6201"]);
    server.says("listening");
    let client = format!("python3 {script} waiting-client {US} 6201");
    let mut client = Guest::start(lab, &tag("client"), &client);
    client.says("answered");
    let child = server.says("child ").trim_start_matches("child ").to_owned();
    server.signal("KILL");
    let killed = Instant::now();
    esock_interop::process::run(&["kill", "-KILL", &child]);
    client.says("told");
    assert!(killed.elapsed() < crate::lives::AT_ONCE, "told after {:?}", killed.elapsed());
    client.ends_well();
    server.ends();

    let server = format!("python3 {script} forking-server {GUEST} 6202");
    let _server = Guest::serve(lab, &tag("server"), &server, "listening");
    let mut client = stage.start(&["python3", &script, "waiting-client", GUEST, "6202"]);
    client.says("answered");
    lab.command_in_guest(&tag("kill"), "pkill -KILL -x python3").wait("event=exit", Instant::now() + PATIENCE);
    client.says("told");
    client.ends_well();
}

/// A case of `far.py` in which first Linux is the server, and then we are. What the client needs to know beside where.
struct Far<'a> {
    case: &'static str,
    port: u16,
    to_guest: [&'a str; 2],
    to_us: [&'a str; 2],
    /// What a server says at its end.
    last: &'static str,
}

fn far(stage: &Stage, lab: &mut Lab, name: &str, far: &Far<'_>) {
    let script = source("far.py");
    let words = |role: &'static str, [address, more]: [&str; 2], port: u16| {
        ["python3", &script, far.case, role, address, &port.to_string(), more].map(str::to_owned).to_vec()
    };
    let run_there = words("server", far.to_guest, far.port).join(" ");
    let mut server = Guest::serve(lab, &format!("{name}-server"), &run_there, "listening");
    let run_here = words("client", far.to_guest, far.port);
    stage.run(&run_here.iter().map(String::as_str).collect::<Vec<_>>());
    server.says(far.last);

    let run_here = words("server", far.to_us, far.port + 1);
    let mut server = stage.start(&run_here.iter().map(String::as_str).collect::<Vec<_>>());
    server.says("listening");
    Guest::start(lab, &format!("{name}-client"), &words("client", far.to_us, far.port + 1).join(" ")).ends_well();
    server.says(far.last);
    server.ends_well();
}

fn large_messages(stage: &Stage, lab: &mut Lab, name: &str) {
    let case = Far { case: "large", port: 6301, to_guest: [GUEST, ""], to_us: [US, ""], last: "all of it" };
    far(stage, lab, name, &case);
}

fn autoclose(stage: &Stage, lab: &mut Lab, name: &str) {
    let case = Far { case: "autoclose", port: 6311, to_guest: [GUEST, ""], to_us: [US, ""], last: "shut down" };
    far(stage, lab, name, &case);
}

fn v6_only(stage: &Stage, lab: &mut Lab, name: &str) {
    let (to_guest, to_us) = ([GUEST_V6, GUEST], [US_V6, US]);
    far(stage, lab, name, &Far { case: "v6only", port: 6321, to_guest, to_us, last: "from fd71:" });
}

fn many_sockets(stage: &Stage, lab: &mut Lab, name: &str) {
    let (to_guest, to_us) = ([GUEST, "100"], [US, "100"]);
    far(stage, lab, name, &Far { case: "many", port: 6331, to_guest, to_us, last: "all have gone" });
}

/// Our broker is killed, and whoever comes back under the same port is the old peer to Linux, begun anew.
fn restarts(stage: &Stage, lab: &mut Lab, name: &str) {
    let script = source("far.py");
    let server = format!("python3 {script} restart server {GUEST} 6341");
    let mut server = Guest::serve(lab, &format!("{name}-server"), &server, "listening");
    let words = ["python3", &script, "restart", "client", GUEST, "6341", "6342"];
    let mut first = stage.start(&words);
    first.says("answered");
    server.says("up");
    let broker = stage.report().number("process");
    esock_interop::process::run(&["kill", "-KILL", &broker.to_string()]);
    first.kill_all();
    let mut second = stage.start(&words);
    second.says("answered");
    server.says("restarted");
    second.tell("enough");
    second.ends_well();
    server.says("shut down");
}
