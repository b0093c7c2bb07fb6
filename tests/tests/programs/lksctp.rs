//! lksctp-tools.

use esock_interop::programs::Stage;

pub fn checksctp_says_that_there_is_sctp(stage: Stage) {
    let said = stage.run(&["checksctp"]);
    assert!(said.contains("SCTP supported"), "{said}");
    stage.was_ours(1, 0, 0);
}

pub fn sctp_test_sends_to_sctp_test(stage: Stage) {
    let mut server = stage.start(&["sctp_test", "-H", "127.0.0.1", "-P", "5001", "-l"]);
    server.says("Receiving packets");
    let client = ["sctp_test", "-H", "127.0.0.1", "-P", "5002", "-h", "127.0.0.1", "-p", "5001", "-s", "-x", "2"];
    let said = stage.run(&client);
    assert!(said.contains("Client: Sending packets.(2/2)"), "{said}");
    server.says("COMMUNICATION_UP");
    server.says("Data 1 bytes");
    server.says("SHUTDOWN_COMPLETE");
    server.signal("KILL");
    assert_eq!(server.ends(), None);
    stage.was_ours(2, 2, 20);
}

pub fn sctp_darn_does_what_is_typed(stage: Stage) {
    let mut listener = stage.start(&["sctp_darn", "-H", "127.0.0.1", "-P", "7001", "-l"]);
    listener.says("listening");
    let talker = ["sctp_darn", "-H", "127.0.0.1", "-P", "7002", "-h", "127.0.0.1", "-p", "7001", "-s", "-I"];
    let mut talker = stage.start(&talker);
    talker.says("ready to send");
    talker.tell("snd=10");
    listener.says("DATA(10)");
    talker.says("New connection");
    talker.tell("snd=3000");
    listener.says("DATA(3000)");
    talker.tell("nodelay=1");
    talker.tell("shutdown");
    talker.says("Successfully SHUTDOWN");
    listener.says("SHUTDOWN_COMP");
    listener.kill_all();
    talker.kill_all();
    stage.was_ours(2, 2, 2);
}

pub fn sctp_status_shows_associations(stage: Stage) {
    let mut server = stage.start(&["sctp_status", "-H", "127.0.0.1", "-P", "7005", "-l"]);
    stage.listens(7005);
    let client =
        ["sctp_status", "-H", "127.0.0.1", "-P", "7006", "-h", "127.0.0.1", "-p", "7005", "-s", "-x", "2", "-c", "0"];
    let mut client = stage.start(&client);
    client.says("ASSOC-ID");
    client.says("ESTABLISHED");
    server.says("ESTABLISHED");
    // Each has a child that asks for ever.
    client.kill_all();
    server.kill_all();
    stage.was_ours(2, 2, 2);
}
