//! Messages: no text from outside steers the terminal, turns the reading direction, or passes for a message of its own.

use ente_common::exit::{Exit, Failure};
use ente_common::record::Record;
use ente_common::ui::{Ui, clean};
use serde_json::json;

pub(in crate::fuzz) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    assert_is_tame(&clean(&text));
    assert_eq!(clean(&clean(&text)), clean(&text));

    let mut parts = text.splitn(3, '|');
    let mut part = || parts.next().unwrap_or_default();
    let failure = Failure::new(Exit::Failed, part())
        .cause(part())
        .hint(part());
    let ui = Ui::capture("ente-pull");
    ui.error(&failure);
    ui.warning(&failure);
    ui.summary(&Record::new("end").with("counts", json!({ &*text: { &*text: &*text } })));
    let shown = ui.captured();
    let starts = [
        "ente-pull: error: ",
        "  cause: ",
        "  hint: ",
        "ente-pull: warning: ",
    ];
    assert_eq!(shown.lines().count(), 6);
    for line in shown.lines() {
        assert!(
            starts.iter().any(|start| line.starts_with(start)),
            "{line:?}"
        );
        assert_is_tame(line);
    }
}

fn assert_is_tame(line: &str) {
    let steers = |c: char| {
        // Unicode's Bidi_Control, control characters, and those that break a line.
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(c, '\u{2028}' | '\u{2029}')
    };
    assert!(!line.contains(steers), "{line:?}");
}
