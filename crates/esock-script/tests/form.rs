//! Scripts that are wrong, or that the stack does not fulfil, fail, and say where and why.

use esock_proto::Fault;
use esock_script::{Failure, Script};

fn failure(text: &str) -> Failure {
    match Script::parse("test.sctp", text) {
        Ok(script) => script.run().failure.expect("this script has to fail"),
        Err(failure) => failure,
    }
}

/// The script fails at this line, and the failure says this.
#[track_caller]
fn fails(line: usize, says: &str, text: &str) {
    let failure = failure(text);
    let shown = failure.to_string();
    assert!(shown.contains(says), "`{says}` is not in:\n{shown}");
    assert_eq!(failure.line(), line, "{shown}");
}

#[track_caller]
fn passes(text: &str) {
    let script = Script::parse("test.sctp", text).unwrap_or_else(|failure| panic!("{failure}"));
    if let Some(failure) = script.run().failure {
        panic!("{failure}");
    }
}

#[test]
fn a_packet_that_does_not_come_is_missed_and_the_next_one_told() {
    fails(3, "the next packet comes 1s later", "connect\n> INIT\n> INIT");
    let established = "established\nsend 10\n> DATA\n";
    fails(4, "nor does it within 120s", "established\n< ABORT\nevent closed\n> SACK");
    fails(4, "the stack sent nothing; the next packet comes 500ms later", &format!("{established}+500ms > DATA"));
    passes(&format!("{established}+1s > DATA"));
}

#[test]
fn a_packet_that_comes_too_early_or_unexpected_is_told() {
    let established = "established\nsend 10\n> DATA\n";
    fails(4, "too early, by 500ms", &format!("{established}+1.5s > DATA"));
    fails(4, "no line expects", &format!("{established}+1s nothing"));
    fails(3, "before this line, the stack sent what no line expects", "established\nsend 10\nsend 20");
    fails(2, "the script has ended, but the stack sent what no line expects", "established\nsend 10");
    passes(&format!("{established}+0.9s..1.1s > DATA"));
}

#[test]
fn a_chunk_a_field_a_flag_and_a_header_that_differ_are_named() {
    let sent = |expected: &str| format!("established\nsend \"hello\" stream=3\n{expected}");
    fails(3, "SACK: DATA[BE, tsn=1, sid=3", &sent("> SACK"));
    fails(3, "DATA: sid is 3, not 4", &sent("> DATA[sid=4]"));
    fails(3, "DATA: flags is 3, not 7", &sent("> DATA[BEU]"));
    fails(3, "DATA: content is \"hello\", not \"hallo\"", &sent("> DATA[\"hallo\"]"));
    fails(3, "its tag is 0x11111111, not 0x5", &sent("> (tag=5) DATA"));
    fails(3, "its destination is 10.0.0.2, not 10.1.0.2", &sent("> (to=10.1.0.2) DATA"));
    fails(3, "it has 1 chunks; SACK is missing", &sent("> DATA SACK"));
    fails(3, "$never does not stand for anything yet", &sent("> DATA[tsn=$never+1]"));
    passes(&sent("> DATA[BE, tsn=1, sid=3, ssn=0, ppid=0, len=5, \"hello\"]"));
    passes(&sent("> DATA[tsn=$it]\nset $it = $it+1\nsend 1\n> DATA[tsn=$it]"));
}

#[test]
fn gaps_duplicates_and_causes_are_compared_whole() {
    let gap = "established\n< DATA\n> SACK[cum=1001]\n< DATA[tsn=1004]\n";
    fails(5, "SACK: gaps is [3..3], not []", &format!("{gap}> SACK[cum=1001]"));
    passes(&format!("{gap}> SACK[cum=1001, gaps=[3]]\n< DATA[tsn=1004]\n> SACK[gaps=[3..3], dups=[1004]]"));
    let abort = "established\nabort \"tired\"\n";
    fails(3, "USER_ABORT=\"tired\" is one cause more than expected", &format!("{abort}> ABORT"));
    fails(3, "USER_ABORT is \"tired\", not \"bored\"", &format!("{abort}> ABORT[USER_ABORT=\"bored\"]"));
    fails(3, "flags is 0, not 1", &format!("{abort}> ABORT[T, ...]"));
    passes(&format!("{abort}> ABORT[USER_ABORT=\"tired\"]"));
}

#[test]
fn parameters_are_looked_for_and_may_be_forbidden() {
    fails(2, "INIT: SUPPORTED=[5] is there", "connect\n> INIT[!SUPPORTED]");
    fails(2, "INIT: ADAPTATION is missing", "connect\n> INIT[ADAPTATION=7]");
    passes("config adaptation=7\nconnect\n> INIT[ADAPTATION=7, SUPPORTED=*]");
}

#[test]
fn states_events_messages_and_numbers_of_the_stack_are_asked_for() {
    fails(2, "the state is established, not closed", "established\nstate closed");
    fails(2, "no event `closed` was told", "established\nevent closed");
    fails(2, "out is 10, not 3", "established [os=2]\nassoc out=3");
    fails(2, "there is no srrt; there are", "established\npath srrt=1s");
    fails(2, "no message is ready", "established\nrecv \"x\"");
    fails(4, "data is \"x\", not \"y\"", "established\n< DATA[\"x\"]\n> SACK\nrecv \"y\"");
    fails(2, "stream 10 does not exist", "established\nsend 1 stream=10");
    passes("established\nsend 1 stream=10 error=bad_stream\nno_event closed\nrecv nothing");
}

#[test]
fn a_script_that_cannot_be_read_is_told_where() {
    fails(1, "there is no statement `lissen`", "lissen");
    fails(2, "there is no chunk `DATUM`", "listen\n< DATUM");
    fails(1, "this chunk has no field `tns`", "< DATA[tns=1]");
    fails(1, "`X` is neither flags, nor a parameter or cause of this chunk", "< DATA[X]");
    fails(3, "a bracket is never closed", "\n\n< DATA[tsn=1,\n  sid=2\n");
    fails(1, "`soon` is no time", "+soon > DATA");
    fails(1, "`%` means nothing here", "> DATA %");
    fails(1, "a packet has at least one chunk", ">");
    fails(1, "there is no such setting", "config colour=1");
    fails(2, "config comes before everything else", "listen\nconfig sack_delay=0");
    fails(1, "the stack's tag is not known yet", "< COOKIE_ACK");
}

#[test]
fn a_failure_shows_the_line_the_time_and_what_happened_before() {
    let shown = failure("# title.\nestablished\n+2s nothing\n\nsend \"hello\"\n> SACK[cum=5] # why").to_string();
    let expected = "test.sctp:6: SACK: DATA[BE, tsn=1, sid=0, ssn=0, ppid=0, len=5, \"hello\"] stands in its place

    > (tag=0x11111111) DATA[BE, tsn=1, sid=0, ssn=0, ppid=0, len=5, \"hello\"]

  line 6:  > SACK[cum=5] # why
  time:    2.000 s

  what happened before:";
    assert!(shown.starts_with(expected), "{shown}");
    assert!(shown.contains("   5       2.000 s  send \"hello\""), "{shown}");
}

#[test]
fn a_faulty_stack_fails_a_script_that_the_sound_one_passes() {
    let text = "established\nsend 10\n> DATA\n+1s > DATA";
    passes(text);
    let script = Script::parse("test.sctp", text).expect("it was read before");
    assert!(script.run_with_fault(Fault::T3NotStarted).failure.is_some());
}
