//! Questions that settle what a listing leaves open. Whatever is not answered clearly stays as it was.

use std::collections::BTreeSet;

use ente_common::api::{ApiError, Client, ErrorKind};
use serde::de::IgnoredAny;

use crate::listing::{ListingError, ends_the_run};
use crate::rest;

/// Files that are asked about one by one; where more are in doubt, the listing itself is.
pub(crate) const MAX_ASKED: usize = 100;
/// Pages of the trash that are read.
const MAX_TRASH_PAGES: usize = 1_000;

/// Nobody may see this collection any more: the server denies it by another route too.
pub(crate) async fn collection_is_gone(
    client: &Client,
    collection: i64,
) -> Result<bool, ListingError> {
    match client.diff::<IgnoredAny>(collection, i64::MAX).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(true),
        Err(error) if ends_the_run(&error) => Err(error.into()),
        _ => Ok(false),
    }
}

/// The list of collections is another than the one with this digest by now, or cannot be had.
pub(crate) async fn moved_on(
    client: &Client,
    digest: Option<&String>,
) -> Result<bool, ListingError> {
    match client.collections().await {
        Ok(served) => Ok(digest != Some(&rest::digest_of(&served))),
        Err(error) if ends_the_run(&error) => Err(error.into()),
        Err(_) => Ok(true),
    }
}

/// None of these files is in the collection any more: the server says so of each.
pub(crate) async fn all_left(
    client: &Client,
    collection: i64,
    files: &[i64],
) -> Result<bool, ListingError> {
    for file in files {
        if client.is_in_collection(collection, *file).await? {
            return Ok(false);
        }
    }
    Ok(files.len() <= MAX_ASKED)
}

/// Of files that are in no album that could be listed (ID and owner), those that are in none at all.
///
/// A file of the account's own is in the trash then; one of somebody else can no longer be fetched.
pub(crate) async fn certainly_gone(
    client: &Client,
    user: i64,
    files: &[(i64, i64)],
) -> Result<BTreeSet<i64>, ListingError> {
    let mut certain = BTreeSet::new();
    if files.iter().any(|(_, owner)| *owner == user) {
        match trashed(client).await {
            Ok(trashed) => certain = trashed,
            Err(error) if ends_the_run(&error) => return Err(error.into()),
            Err(_) => {}
        }
    }
    let others = files.iter().filter(|(_, owner)| *owner != user);
    for (file, _) in others.take(MAX_ASKED) {
        match client.object_link(*file).await {
            Err(error) if matches!(error.kind, ErrorKind::NotFound | ErrorKind::Forbidden) => {
                certain.insert(*file);
            }
            Err(error) if ends_the_run(&error) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(certain)
}

/// The files that are in the trash or were deleted from it.
async fn trashed(client: &Client) -> Result<BTreeSet<i64>, ApiError> {
    let mut trashed = BTreeSet::new();
    let mut since = 0;
    for _ in 0..MAX_TRASH_PAGES {
        let page = client.trash(since).await?;
        let before = since;
        for entry in page.diff {
            since = since.max(entry.updated_at);
            match entry.is_restored {
                true => trashed.remove(&entry.file.id),
                false => trashed.insert(entry.file.id),
            };
        }
        if !page.has_more || since == before {
            break;
        }
    }
    Ok(trashed)
}
