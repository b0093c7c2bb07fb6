//! What a program expects of its system calls, of SCTP sockets over the preloaded library: `tests/preload/preload.c`,
//! and what runtimes and daemons are in the habit of: `tests/preload/habits.c`, a case each.

use esock_interop::command::esock;
use esock_interop::compile::compile;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a case may take: they take a second or two.
const PATIENCE: Duration = Duration::from_secs(40);

/// The program.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let sources = ["preload", "addresses", "descriptors", "signals", "threads", "readiness", "other"];
    PROGRAM.get_or_init(|| compiled(&sources))
}

/// The one that is about large messages, and about those who do not keep to the protocol.
fn hop() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled(&["hop"]))
}

/// A program of these sources, which bears the first one's name.
fn compiled(sources: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload");
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-program", sources[0]));
    let sources = sources.iter().map(|name| folder.join(name).with_extension("c"));
    compile(&made, Command::new("cc").args(["-O1", "-g", "-w"]).args(sources).args(["-lpthread", "-lrt"]));
    made
}

/// Another program, and the library that it loads.
fn habits() -> &'static (PathBuf, PathBuf) {
    static PROGRAM: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("preload/habits.c");
        let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (made, plugin) = (place.join("preload-habits"), place.join("preload-plugin.so"));
        compile(&made, Command::new("cc").args(["-O1", "-g"]).arg(&source).args(["-lpthread", "-ldl"]));
        compile(&plugin, Command::new("cc").args(["-DPLUGIN", "-shared", "-fPIC"]).arg(&source));
        (made, plugin)
    })
}

/// A broker of its own for a case, over UDP at a port that is free.
struct Stage {
    port: String,
    broker: String,
}

impl Stage {
    fn new(name: &str) -> Self {
        let port = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        Self { port: port.to_string(), broker: format!("esock/test/preload/{name}/{}", std::process::id()) }
    }

    /// A command that gets the broker's settings from the environment.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_remove("LD_PRELOAD").env_remove("ESOCK_KEY");
        command.env("ESOCK_BACKEND", "udp").env("ESOCK_BROKER", &self.broker);
        command.env("ESOCK_UDP_PORT", &self.port).env("ESOCK_ENCAP_PORT", &self.port);
        command.stdin(Stdio::null());
        command
    }

    /// A command over `esock run`.
    fn run(&self, words: &[&str]) -> Command {
        self.command(&[&[path(esock()), "run", "-v", "--"], words].concat())
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of cargo's is text")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a command to its end, which must come.
fn finish(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be started");
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() >= deadline {
            child.kill().expect("it is our child");
            panic!("{command:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("it is our child")
}

/// Runs a case, which must end well; returns what it said.
fn case(name: &str) -> String {
    case_of(program(), name)
}

fn case_of(program: &Path, name: &str) -> String {
    let output = finish(&mut Stage::new(name).run(&[path(program), name]));
    assert!(output.status.success(), "{name}: {}: {}", output.status, text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same of the other program.
fn habit(name: &str) {
    let (program, plugin) = habits();
    let mut command = Stage::new(name).run(&[path(program), name]);
    let output = finish(command.env("HABITS_PLUGIN", plugin));
    assert!(output.status.success(), "{name}: {}: {}", output.status, text(&output));
}

/// The same of the one about large messages.
fn large(name: &str) {
    case_of(hop(), name);
}

macro_rules! cases {
    ($run:ident: $($test:ident: $name:literal,)*) => { $(
        #[test]
        fn $test() {
            $run($name);
        }
    )* };
}

cases! {
    large:
    messages_of_all_sizes_and_parts_arrive_as_they_were_sent: "sizes",
    bad_addresses_of_large_messages_are_errors_and_nothing_of_them_leaves: "large-addresses",
    processes_that_have_forked_send_and_receive_large_messages_on_one_socket: "large-forks",
    who_is_killed_in_the_midst_of_a_send_has_sent_all_or_nothing: "killed",
    programs_whose_limits_leave_no_memory_to_share_are_served: "no-memory",
    a_broker_outlives_programs_that_do_not_keep_to_the_protocol: "hostile",
    what_lies_ready_is_read_as_if_the_broker_were_asked: "offers",
    what_lay_ready_was_read_if_it_was_taken_and_only_then: "offers-closed",
    what_lies_ready_for_one_process_is_read_by_another: "offers-shared",
    a_broker_minds_nothing_that_is_written_where_it_offers_messages: "offers-hostile",
    threads_that_read_one_socket_read_each_message_once: "offers-threads",
}

cases! {
    case:
    bad_addresses_lengths_and_counts_are_errors_as_a_kernel_gives_them: "addresses",
    bad_addresses_are_errors_where_a_process_must_not_look_at_itself: "forbidden",
    copies_of_descriptors_are_the_same_socket_and_what_is_closed_unseen_is_not: "copies",
    a_daemon_may_close_all_descriptors: "closes-all",
    closing_keeps_errno_and_begins_no_broker_and_what_went_with_one_says_so: "closes-quietly",
    who_waits_for_a_broker_that_does_not_answer_can_be_ended: "broker-is-silent",
    a_broker_without_descriptors_says_so_and_nobody_waits: "broker-is-full",
    a_descriptor_is_passed_to_another_process: "passing",
    servers_that_have_forked_accept_from_one_socket: "forks",
    a_program_forks_while_its_threads_make_calls: "forks-of-threads",
    sockets_are_inherited_over_vfork_posix_spawn_and_exec: "execs",
    signals_interrupt_calls_or_not_as_their_handlers_say: "interruptions",
    time_limits_and_not_waiting_hold: "limits",
    who_writes_to_what_is_shut_down_gets_sigpipe: "pipes",
    a_signal_handler_makes_calls_in_the_midst_of_others: "calls-of-handlers",
    a_signal_handler_jumps_out_of_a_call: "jumps",
    a_thread_is_cancelled_in_any_call_that_waits_and_the_socket_is_usable: "cancellation",
    a_thousand_threads_leave_nothing_behind: "many-threads",
    many_threads_of_many_processes_read_one_socket_and_nobody_hangs: "sharing",
    poll_and_select_say_what_they_say_on_linux: "readiness",
    epoll_tells_levels_and_edges: "edges",
    sendfile_splice_and_batches_of_messages_work: "transfers",
    a_daemon_that_has_become_another_user_is_served: "drops",
}

cases! {
    habit:
    a_sequence_of_packets_without_a_protocol_is_sctp: "untyped",
    vectors_of_nothing_are_nothing: "nothing",
    who_has_shut_a_socket_down_does_not_wait_for_ever: "shut",
    streams_of_the_c_library_work_over_sockets: "streams",
    a_program_whose_standard_input_and_output_are_a_socket_works: "inherited-streams",
    standard_streams_go_with_their_descriptors: "redirected-streams",
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_library_that_is_bound_deeply_has_our_sockets() {
    habit("deep");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn functions_looked_up_in_the_c_library_by_its_name_are_ours() {
    habit("by-name");
}

#[test]
fn other_libraries_that_are_preloaded_come_before_ours() {
    let plugin = path(&habits().1);
    let mut command = Stage::new("order").run(&["sh", "-c", "echo $LD_PRELOAD"]);
    let output = finish(command.env("LD_PRELOAD", plugin));
    let said = text(&output);
    assert!(said.lines().any(|line| line.starts_with(plugin) && line.ends_with("libesock_preload.so")), "{said}");
}

#[test]
fn what_limits_whoever_starts_a_broker_does_not_limit_it() {
    let stage = Stage::new("limit");
    let limited = format!("ulimit -S -n 64; exec {} run -- true", path(esock()));
    let output = finish(&mut stage.command(&["sh", "-c", &limited]));
    assert!(output.status.success(), "{}", text(&output));
    let report = text(&finish(&mut stage.command(&[path(esock()), "broker", "--report"])));
    let process = report.lines().find_map(|line| line.strip_prefix("process: ")).expect("it says so");
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("it runs");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a line");
    let limits: Vec<&str> = files.split_whitespace().take(2).collect();
    assert!(limits[0] == limits[1] && limits[0] != "64", "{files}");
}

#[test]
fn another_users_program_without_the_key_is_refused() {
    let program = path(program());
    let output = finish(&mut Stage::new("stranger").run(&["env", "ESOCK_KEY=0.guessed", program, "stranger"]));
    assert!(output.status.success(), "{}", text(&output));
    // Only root can become another user.
    let refused = text(&output).contains("refused: Permission denied");
    assert!(refused || !text(&output).contains("refused"), "{}", text(&output));
}

#[test]
fn the_library_starts_a_broker_by_itself_which_is_nobodys_child() {
    let stage = Stage::new("alone");
    let library = esock().with_file_name("libesock_preload.so");
    let mut command = stage.command(&[path(program()), "childless"]);
    let output = finish(command.env("LD_PRELOAD", library));
    assert!(output.status.success(), "{}", text(&output));
    let output = finish(&mut stage.run(&["true"]));
    assert!(text(&output).contains(&format!("with --backend=udp --udp-port={}", stage.port)), "{}", text(&output));
}

#[test]
fn a_broker_of_esock_run_is_nobodys_child() {
    case("childless");
}

#[test]
fn who_wants_other_settings_than_the_running_broker_has_is_told() {
    let stage = Stage::new("settings");
    let output = finish(&mut stage.run(&["true"]));
    assert!(!text(&output).contains("goes on so"), "{}", text(&output));
    let output = finish(stage.run(&["true"]).env("ESOCK_SYSCTL", "net.sctp.rto_initial=1000"));
    let said = text(&output);
    assert!(said.contains("goes on so") && said.contains("rto_initial=1000"), "{said}");
    assert!(output.status.success());
}

#[test]
fn with_the_kernels_sctp_a_program_runs_without_the_library() {
    let words = [path(esock()), "run", "-v", "--backend", "kernel", "--", "env"];
    let output = finish(&mut Stage::new("kernel").command(&words));
    let said = text(&output);
    assert!(said.contains("without esock: the kernel's SCTP was asked for"), "{said}");
    assert!(said.contains("ESOCK_BACKEND=kernel") && !said.contains("LD_PRELOAD"), "{said}");
}

#[test]
fn descriptors_that_are_not_sctp_sockets_cost_nearly_nothing_more() {
    let number = |said: &str| -> f64 {
        let number = said.lines().find_map(|line| line.strip_prefix("write and read of a pipe: "));
        number.and_then(|number| number.strip_suffix(" ns")).and_then(|number| number.parse().ok()).unwrap()
    };
    let without = finish(Command::new(program()).arg("plain-pipe"));
    let without = number(&String::from_utf8_lossy(&without.stdout));
    let with = number(&case("plain-pipe"));
    // It is a few nanoseconds; others' work disturbs the measure by more than that.
    assert!(with < 2.0 * without + 500.0, "{with} ns with the library, {without} without");
}

/// Under valgrind, which stops a program at the first byte that is read or written where there is none. What the kernel
/// writes for the library it does not know to be written, so of such bytes it is not asked.
#[test]
fn valgrind_finds_nothing_wrong_in_a_program_with_the_library() {
    if std::env::var_os("ESOCK_NO_PEERS").is_some_and(|value| value == "1") {
        println!("skipped: valgrind: ESOCK_NO_PEERS=1");
        return;
    }
    for (program, name) in [
        (program(), "copies"),
        (program(), "passing"),
        (program(), "transfers"),
        (program(), "sharing"),
        (hop(), "sizes"),
    ] {
        let judge = ["valgrind", "--quiet", "--error-exitcode=9", "--undef-value-errors=no"];
        let output = finish(&mut Stage::new(name).run(&[&judge[..], &[path(program), name]].concat()));
        assert!(output.status.success(), "{name}: {}: {}", output.status, text(&output));
    }
}
