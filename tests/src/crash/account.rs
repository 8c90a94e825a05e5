//! A small account in which one of each kind of thing is there, and one of each kind of change happens.

use crate::library::{Content, Library, NewFile, Picture};

pub(super) const EMAIL: &str = "crash@example.org";
pub(super) const PASSWORD: &str = "crash";

fn photo(variant: u64) -> Content {
    Content::Photo(Picture::new(variant))
}

fn live_photo(variant: u64) -> Content {
    Content::LivePhoto {
        picture: Picture::new(variant),
        image: "JPG",
        video: "mov",
    }
}

/// The files and albums that change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    trip: i64,
    work: i64,
    doomed: i64,
    first: i64,
    second: i64,
    live: i64,
    moving: i64,
    shared: i64,
    trashed: i64,
}

/// The account before.
pub(super) fn initial() -> (Library, Ids) {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let (trip, work, doomed) = (
        live.create_album("Trip"),
        live.create_album("Work"),
        live.create_album("Doomed"),
    );
    let ids = Ids {
        trip,
        work,
        doomed,
        first: live.upload(trip, NewFile::new("a.jpg", photo(1))),
        second: live.upload(trip, NewFile::new("a.jpg", photo(2))),
        live: live.upload(trip, NewFile::new("live.jpg", live_photo(3))),
        moving: live.upload(work, NewFile::new("moving.jpg", photo(4))),
        shared: live.upload(work, NewFile::new("shared.jpg", photo(5))),
        trashed: live.upload(work, NewFile::new("trashed.jpg", photo(6))),
    };
    live.add(ids.shared, trip);
    live.favorite(ids.shared);
    live.upload(doomed, NewFile::new("kept elsewhere.jpg", photo(7)));
    live.set_caption(ids.first, "before");
    (library, ids)
}

/// An account with one photo of 50 MB.
pub(super) fn large() -> Library {
    let mut library = Library::empty(7, EMAIL, PASSWORD);
    let live = library.live_mut();
    let album = live.create_album("Large");
    let picture = Picture {
        min_len: 50_000_000,
        ..Picture::new(1)
    };
    live.upload(album, NewFile::new("large.jpg", Content::Photo(picture)));
    library
}

/// One of each: albums swap their names, one goes; a file is renamed, moved, replaced, removed, edited, added.
pub(super) fn change(library: &mut Library, ids: Ids) {
    let live = library.live_mut();
    live.rename_album(ids.trip, "Work");
    live.rename_album(ids.work, "Trip");
    live.delete_album_with_files(ids.doomed);
    live.rename(ids.first, "b.jpg");
    live.replace(ids.second, photo(20));
    live.replace(ids.live, live_photo(21));
    live.move_to(ids.moving, ids.work, ids.trip);
    live.remove(ids.shared, ids.work);
    live.trash(ids.trashed);
    live.set_caption(ids.first, "after");
    live.set_taken_at(ids.shared, 1_600_000_000_000_000);
    live.upload(ids.trip, NewFile::new("new.jpg", photo(22)));
}

/// What was trashed comes back.
pub(super) fn restore(library: &mut Library, ids: Ids) {
    let live = library.live_mut();
    live.restore(ids.trashed, ids.trip);
    live.add(ids.shared, ids.work);
}
