//! Does to a library what an [`Op`] says.

use super::{ALBUMS, Op, TITLES};
use crate::library::{Content, Library, Live, NewFile, Picture, Visibility};

/// What is remembered beside the account while things happen to it.
#[derive(Debug)]
pub struct History {
    /// A file that nothing happens to: an account never becomes empty.
    anchor: i64,
    shared: Vec<i64>,
    seed: u64,
}

fn pick<T: Copy>(items: &[T], n: usize) -> Option<T> {
    (!items.is_empty()).then(|| items[n % items.len()])
}

fn picture(seed: u64) -> Picture {
    Picture {
        variant: seed,
        ..Picture::default()
    }
}

impl History {
    /// An account of three files in two albums, with which every history begins.
    pub fn start(email: &str, password: &str) -> (Library, Self) {
        let mut library = Library::empty(7, email, password);
        let live = library.live_mut();
        let photo = |title, seed| NewFile::new(title, Content::Photo(picture(seed)));
        let anchor_album = live.create_album("Anchor");
        let anchor = live.upload(anchor_album, photo("anchor.jpg", 1));
        let album = live.create_album("Trip");
        live.upload(album, photo("a.jpg", 2));
        live.upload(album, photo("a.jpg", 3));
        let history = Self {
            anchor,
            shared: Vec::new(),
            seed: 100,
        };
        (library, history)
    }

    fn content(&mut self, live: bool) -> Content {
        self.seed += 1;
        if live {
            Content::LivePhoto {
                picture: picture(self.seed),
                image: "JPG",
                video: "mov",
            }
        } else {
            Content::Photo(picture(self.seed))
        }
    }

    /// Does it; what does not apply at this moment is left out.
    pub fn apply(&mut self, live: &mut Live, op: &Op) {
        let own: Vec<i64> = live
            .albums()
            .iter()
            .filter(|album| album.owned)
            .map(|album| album.id)
            .collect();
        let plain: Vec<i64> = live
            .albums()
            .iter()
            .filter(|album| album.owned && album.kind.as_str() == "album" && !album.default_hidden)
            .map(|album| album.id)
            .filter(|id| !live.files_in(*id).contains(&self.anchor))
            .collect();
        let user = live.file(self.anchor).owner;
        let files: Vec<i64> = live
            .file_ids()
            .into_iter()
            .filter(|id| {
                *id != self.anchor
                    && live.file(*id).owner == user
                    && !live.albums_of(*id).is_empty()
            })
            .collect();
        let trashed = live.trashed();
        match *op {
            Op::Upload {
                album,
                title,
                live: is_live,
            } => {
                let content = self.content(is_live);
                if let Some(album) = pick(&own, album) {
                    live.upload(album, NewFile::new(TITLES[title], content));
                }
            }
            Op::Add { file, album } => {
                if let (Some(file), Some(album)) = (pick(&files, file), pick(&own, album)) {
                    live.add(file, album);
                }
            }
            Op::Move { file, from, album } => {
                if let (Some(file), Some(to)) = (pick(&files, file), pick(&own, album))
                    && let Some(from) = pick(&live.albums_of(file), from)
                    && from != to
                {
                    live.move_to(file, from, to);
                }
            }
            Op::Remove { file, from } => {
                if let Some(file) = pick(&files, file)
                    && let Some(from) = pick(&live.albums_of(file), from)
                {
                    live.remove(file, from);
                }
            }
            Op::Rename { file, title } => {
                if let Some(file) = pick(&files, file) {
                    live.rename(file, TITLES[title]);
                }
            }
            Op::SwapTitles { file, other } => {
                if let (Some(file), Some(other)) = (pick(&files, file), pick(&files, other)) {
                    let (a, b) = (live.file(file).title, live.file(other).title);
                    live.rename(file, &b);
                    live.rename(other, &a);
                }
            }
            Op::Caption { file, text } => {
                if let Some(file) = pick(&files, file) {
                    live.set_caption(file, &format!("caption {text}"));
                }
            }
            Op::Date { file, days } => {
                if let Some(file) = pick(&files, file) {
                    live.set_taken_at(file, i64::from(days) * 86_400_000_000 + 1_000_000);
                }
            }
            Op::Archive { file, archived } => {
                if let Some(file) = pick(&files, file) {
                    live.set_archived(file, archived);
                }
            }
            Op::Hide { file } => {
                if let Some(file) = pick(&files, file) {
                    live.hide(file);
                }
            }
            Op::Trash { file } => {
                if let Some(file) = pick(&files, file) {
                    live.trash(file);
                }
            }
            Op::Restore { file, album } => {
                if let (Some(file), Some(album)) = (pick(&trashed, file), pick(&own, album)) {
                    live.restore(file, album);
                }
            }
            Op::DeleteForever { file } => {
                if let Some(file) = pick(&trashed, file) {
                    live.delete_forever(file);
                }
            }
            Op::Replace { file } => {
                if let Some(file) = pick(&files, file) {
                    let content = self.content(live.file(file).file_type == 2);
                    live.replace(file, content);
                }
            }
            Op::Favorite { file } => {
                if let Some(file) = pick(&files, file) {
                    live.favorite(file);
                }
            }
            Op::Unfavorite { file } => {
                let favorites = live.favorites();
                if let Some(file) =
                    pick(&files, file).filter(|file| live.albums_of(*file).contains(&favorites))
                {
                    live.unfavorite(file);
                }
            }
            Op::CreateAlbum { title } => {
                live.create_album(ALBUMS[title]);
            }
            Op::RenameAlbum { album, title } => {
                if let Some(album) = pick(&plain, album) {
                    live.rename_album(album, ALBUMS[title]);
                }
            }
            Op::DeleteAlbum { album } => {
                if let Some(album) = pick(&plain, album) {
                    live.delete_album(album);
                }
            }
            Op::DeleteAlbumWithFiles { album } => {
                if let Some(album) = pick(&plain, album) {
                    live.delete_album_with_files(album);
                }
            }
            Op::RunTrashQueue => live.run_trash_queue(),
            Op::ShareIn { title, files } => {
                let album = live.share_in("anna@example.org", ALBUMS[title]);
                for n in 0..files {
                    let content = self.content(false);
                    live.upload_by(
                        "anna@example.org",
                        album,
                        NewFile::new(TITLES[usize::from(n)], content),
                    );
                }
                self.shared.push(album);
            }
            Op::Unshare => {
                if let Some(album) = self.shared.last() {
                    live.unshare(*album);
                }
            }
            Op::ShareAgain => {
                if let Some(album) = self.shared.last() {
                    live.share_again(*album);
                }
            }
            Op::Vanish => {
                if let Some(album) = self.shared.pop() {
                    live.vanish(album);
                }
            }
            Op::HideAlbum { album, hidden } => {
                if let Some(album) = pick(&plain, album) {
                    live.set_visibility(
                        album,
                        if hidden {
                            Visibility::Hidden
                        } else {
                            Visibility::Visible
                        },
                    );
                }
            }
        }
    }
}
