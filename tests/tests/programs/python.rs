//! Python's own library, and `pysctp`.

use crate::source;
use esock_interop::programs::Stage;
use std::path::Path;

/// Python with pysctp, as `cargo xtask test` installs it.
pub fn python() -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pysctp/bin/python");
    assert!(python.exists(), "no {}: `cargo xtask test` makes it", python.display());
    python.display().to_string()
}

pub fn pysctp_sends_receives_and_is_told(stage: Stage) {
    let (python, script) = (python(), source("with_pysctp.py"));
    for style in ["one-to-one", "one-to-many"] {
        let mut server = stage.start(&[&python, &script, style, "server", "127.0.0.1", "6101"]);
        server.says("listening");
        let mut client = stage.start(&[&python, &script, style, "client", "127.0.0.1", "6101"]);
        client.ends_well();
        client.says("client done");
        server.ends_well();
        server.says("server done");
    }
    stage.was_ours(5, 4, 6);
}

pub fn pythons_own_library_takes_sockets_as_any_others(stage: Stage) {
    let said = stage.run(&["python3", &source("runtime.py")]);
    assert!(said.contains("done"), "{said}");
    stage.was_ours(20, 10, 20);
}
