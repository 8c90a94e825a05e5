//! One fuzz target under libFuzzer, which sees what code an input reaches; `ENTE_FUZZ_TARGET` names it. Built by `cargo xtask fuzz --guided` alone.
#![no_main]

use std::sync::LazyLock;

use ente_tests::fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("ENTE_FUZZ_TARGET").unwrap_or_default();
    Target::named(&name).expect("`ENTE_FUZZ_TARGET` names a target")
});

fuzz_target!(|data: &[u8]| (TARGET.run)(data));
