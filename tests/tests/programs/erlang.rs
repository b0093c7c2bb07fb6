//! Erlang's `gen_sctp`.

use crate::source;
use esock_interop::programs::Stage;

pub fn gen_sctp_has_one_to_many_sockets_and_peels_off(stage: Stage) {
    let script = source("gen_sctp.escript");
    let mut server = stage.start(&["escript", &script, "server", "4001"]);
    server.says("listening");
    let mut client = stage.start(&["escript", &script, "client", "127.0.0.1", "4001"]);
    client.ends_well();
    client.says("client done");
    server.ends_well();
    server.says("server done");
    stage.was_ours(3, 2, 6);
}
