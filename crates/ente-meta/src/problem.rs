//! The `problem` records of this tool.

use std::io;

use ente_common::manifest::PartKey;
use ente_common::record::Problem;

/// A file, or edits of it, that cannot be opened.
pub(crate) fn unopened_file(file: i64, cause: &str) -> Problem {
    Problem {
        file: Some(file),
        cause: format!("file {file} cannot be opened: {cause}"),
        hint: "look at the file in an app of Ente; if it opens there, run `ente-pull` again".into(),
        ..problem("undecryptable")
    }
}

/// An album that cannot be opened.
pub(crate) fn unopened_album(collection: i64, cause: &str) -> Problem {
    Problem {
        collection: Some(collection),
        cause: format!("collection {collection} cannot be opened: {cause}"),
        hint: "look at the album in an app of Ente; if it opens there, run `ente-pull` again"
            .into(),
        ..problem("undecryptable")
    }
}

/// A sidecar that cannot be written.
pub(crate) fn not_written(key: PartKey, path: String, error: &io::Error) -> Problem {
    let (collection, file, _) = key;
    Problem {
        file: Some(file),
        collection: Some(collection),
        cause: format!("cannot write `{path}`: {error}"),
        path: Some(path),
        hint: "`ente-verify` finds what is missing around it".into(),
        ..problem("not-written")
    }
}

fn problem(class: &str) -> Problem {
    Problem {
        stage: "ente-meta".into(),
        class: class.into(),
        ..Problem::default()
    }
}
