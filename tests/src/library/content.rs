//! What files consist of, made when it is asked for.

use std::sync::OnceLock;

use bytes::Bytes;

use super::media::{self, Picture};
use super::seal;

/// The plaintext of a file.
#[derive(Debug, Clone)]
pub enum Content {
    /// A JPEG with EXIF.
    Photo(Picture),
    /// An MP4 of a few frames.
    Video(Picture),
    /// A ZIP of a still and a video, with these extensions (without a dot).
    LivePhoto {
        /// Both parts are made from it.
        picture: Picture,
        /// Extension of the still.
        image: &'static str,
        /// Extension of the video.
        video: &'static str,
    },
    /// So many zero bytes, listed as a video: never in memory as a whole.
    Zeros(u64),
    /// Any bytes, listed as this file type (0 image, 1 video, 2 live photo).
    Bytes(i64, Bytes),
}

impl Content {
    /// `fileType` in the metadata.
    pub fn file_type(&self) -> i64 {
        match self {
            Self::Photo(_) => 0,
            Self::Video(_) | Self::Zeros(_) => 1,
            Self::LivePhoto { .. } => 2,
            Self::Bytes(file_type, _) => *file_type,
        }
    }

    /// The whole plaintext, as uploaded.
    ///
    /// # Panics
    /// If it is more than fits in memory.
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Photo(picture) => picture.jpeg().into(),
            Self::Video(picture) => picture.mp4().into(),
            Self::LivePhoto { image, video, .. } => {
                let [still, motion] = self.live_parts().expect("it is a live photo");
                media::zip(&[
                    (&format!("image.{image}"), &still),
                    (&format!("video.{video}"), &motion),
                ])
                .into()
            }
            Self::Zeros(length) => vec![0; usize::try_from(*length).expect("it fits")].into(),
            Self::Bytes(_, bytes) => bytes.clone(),
        }
    }

    /// Still and video of a live photo.
    pub fn live_parts(&self) -> Option<[Bytes; 2]> {
        match self {
            Self::LivePhoto { picture, .. } => Some([picture.jpeg().into(), picture.mp4().into()]),
            _ => None,
        }
    }

    /// `hash` in the metadata: of the file, or of the two parts of a live photo.
    fn hash(&self, bytes: &[u8]) -> String {
        match self.live_parts() {
            Some([still, video]) => {
                format!(
                    "{}:{}",
                    seal::content_hash(&still),
                    seal::content_hash(&video)
                )
            }
            None => seal::content_hash(bytes),
        }
    }
}

/// One version of a file's content with what is known of it once it was made.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) content: Content,
    facts: OnceLock<Facts>,
}

/// Facts that a listing needs and that cost making the content.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) hash: String,
    /// Lengths of the encrypted objects.
    pub(super) sealed_len: u64,
    pub(super) thumbnail_len: u64,
}

impl Version {
    pub(super) fn new(content: Content) -> Self {
        Self {
            content,
            facts: OnceLock::new(),
        }
    }

    pub(super) fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| {
            let (hash, length) = match &self.content {
                Content::Zeros(length) => (seal::hash_of_zeros(*length), *length),
                content => {
                    let bytes = content.bytes();
                    (content.hash(&bytes), bytes.len() as u64)
                }
            };
            Facts {
                hash,
                sealed_len: seal::sealed_len(length),
                thumbnail_len: seal::sealed_len(self.thumbnail().len() as u64),
            }
        })
    }

    /// The plaintext of the thumbnail: a small JPEG.
    pub(super) fn thumbnail(&self) -> Vec<u8> {
        match &self.content {
            Content::Photo(picture)
            | Content::Video(picture)
            | Content::LivePhoto { picture, .. } => picture.thumbnail(),
            Content::Bytes(..) | Content::Zeros(_) => Picture::default().thumbnail(),
        }
    }
}
