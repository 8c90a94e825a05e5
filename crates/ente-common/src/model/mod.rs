//! Collections and files as people see them: decrypted, merged and checked.
//!
//! Metadata was written by many versions of many apps. Nothing here fails because of it: what makes no sense counts
//! as unknown.

mod collection;
mod lenient;
mod metadata;
#[cfg(feature = "crypto")]
mod open;

pub use collection::{Collection, CollectionKind};
pub use metadata::{EffectiveMetadata, FileType, Location, Visibility};
#[cfg(feature = "crypto")]
pub use open::{Cause, EntryError, OpenedCollection, OpenedFile, Piece, Unreadable};
