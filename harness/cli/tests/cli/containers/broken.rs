//! An engine that is there and starts nothing: the machine's fault, and no failure of a case.

use super::{CONF, Harbour};

#[test]
fn an_engine_that_starts_no_container_is_the_machines_fault() {
    let Some(harbour) = Harbour::with_image() else {
        return;
    };
    harbour.assay("run ./tiny.toml --env box").exits(0);
    let broken = CONF.replace("runtime=\"runc\"", "runtime=\"broken\"")
        + "[engine.runtimes]\nbroken=[\"/bin/false\"]\n";
    harbour.place.write("containers.conf", broken);
    for arguments in ["run ./tiny.toml --env box", "reproduce latest"] {
        harbour
            .assay(arguments)
            .exits(3)
            .says("podman starts no container of `box`");
    }
}
