//! The fuzz targets on their corpus, and on some hundred inputs around it; `cargo xtask fuzz` goes on from there.

use ente_tests::fuzz::{TARGETS, driver};

#[test]
fn no_input_breaks_an_invariant() {
    for target in TARGETS {
        let report = driver::run(&target, 1, |inputs| inputs < 250);
        assert_eq!(
            report.found.map(|input| input.escape_ascii().to_string()),
            None,
            "{}",
            target.name
        );
    }
}
