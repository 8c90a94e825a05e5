//! The manifest: a fact that can be read is written and read again as the same; reading as it grows, or at once, comes to the same; a torn line costs
//! nothing but itself; what follows from facts never panics.

use std::fs;
use std::path::Path;

use ente_common::manifest::ciphertext::Ciphertext;
use ente_common::manifest::facts::{self, DecryptFact, MetaFact, PullFact, VerifyFact};
use ente_common::manifest::follow::Follow;
use ente_common::manifest::journal::{Facts, Journal};
use ente_common::manifest::{Export, State};

use super::{scratch, spread};
use crate::journal::summed;

/// The first byte tells which file the rest is.
pub(in crate::fuzz) fn run(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let dir = scratch();
    let dir = dir.path();
    match which {
        b'p' => journal::<PullFact>(dir, data),
        b'd' => journal::<DecryptFact>(dir, data),
        b'm' => journal::<MetaFact>(dir, data),
        b'v' => journal::<VerifyFact>(dir, data),
        b'c' => ciphertext(dir, data),
        _ => about(dir, data),
    }
    if let Ok(state) = State::load(dir) {
        follow_up(&state);
    }
}

/// The facts up to the first that cannot be read.
fn read<F: Facts>(follow: &mut Follow) -> (Vec<F>, bool) {
    let mut facts = Vec::new();
    let is_whole = follow.catch_up(|fact| facts.push(fact)).is_ok();
    (facts, is_whole)
}

fn journal<F: Facts + PartialEq + std::fmt::Debug>(dir: &Path, data: &[u8]) {
    let data = &summed(data);
    let path = dir.join(format!("{}.jsonl", F::FILE));
    fs::write(&path, data).expect("scratch");
    let (facts, is_whole) = read::<F>(&mut Follow::new::<F>(dir));

    // As it grows.
    let cut = spread(data, data.len());
    fs::write(&path, &data[..cut]).expect("scratch");
    let mut follow = Follow::new::<F>(dir);
    let (mut grown, was_whole) = read::<F>(&mut follow);
    assert!(was_whole || !is_whole);
    if was_whole {
        fs::write(&path, data).expect("scratch");
        let (rest, rest_is_whole) = read::<F>(&mut follow);
        grown.extend(rest);
        assert_eq!((&grown, rest_is_whole), (&facts, is_whole));
    }

    // The writer goes on behind the last whole line.
    fs::write(&path, data).expect("scratch");
    if is_whole {
        let mut journal = Journal::open(dir, F::FILE).expect("it was read");
        facts.iter().for_each(|fact| journal.append(fact));
        journal.flush().expect("scratch");
        let (twice, is_whole) = read::<F>(&mut Follow::new::<F>(dir));
        assert!(is_whole);
        assert_eq!(twice[..facts.len()], facts);
        assert_eq!(twice[facts.len()..], facts);
    }
}

fn ciphertext(dir: &Path, data: &[u8]) {
    let data = &summed(data);
    fs::write(dir.join("ciphertext.jsonl"), data).expect("scratch");
    let ciphertext = Ciphertext::open(dir).expect("it is there");
    let at = spread(data, data.len()) as u64;
    for (at, len) in [
        (0, data.len() as u64),
        (at, 64),
        (at, u64::MAX),
        (u64::MAX, 1),
    ] {
        let fact = facts::File {
            collection: 1,
            id: 2,
            at,
            len,
            ..facts::File::default()
        };
        if let Ok(entry) = ciphertext.file(&fact) {
            let served = entry.get().as_bytes();
            assert!(data.windows(served.len()).any(|window| window == served));
        }
    }
}

fn about(dir: &Path, data: &[u8]) {
    let state = dir.join(".ente");
    fs::create_dir(&state).expect("scratch");
    fs::write(state.join("export.json"), data).expect("scratch");
    if let Ok(mut export) = Export::open(dir) {
        let about = export.about().clone();
        let mut account = about.account.clone();
        account.email.push('x');
        export
            .update(account.clone(), about.key_attributes.clone())
            .expect("scratch");
        let again = Export::open(dir).expect("it was just written");
        assert_eq!(again.about().account, account);
        assert_eq!(again.about().key_attributes, about.key_attributes);
    }
}

fn follow_up(state: &State) {
    let held = state.plaintexts();
    for (key, placement) in &state.decrypt.placements {
        let paths = (0..placement.parts.len()).filter_map(|part| state.decrypt.path(*key, part));
        assert!(paths.count() <= placement.parts.len());
        if let Some(version) = placement.version {
            assert!(held.contains(&(key.1, version)) || !state.is_whole(*key));
        }
    }
    for key in state.pull.objects.keys() {
        assert!(state.object(*key).is_none_or(|object| !object.gone));
    }
    for (key, file) in &state.pull.files {
        assert_eq!(*key, (file.collection, file.id));
        assert!(!file.gone);
        assert!(state.pull.files_in(key.0).any(|other| *other == **file));
    }
    for key in state.meta.sidecars.keys() {
        state.sidecar_lost(*key);
    }
    state.meta.sidecars_at();
}
