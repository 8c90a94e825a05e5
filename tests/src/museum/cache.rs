//! Objects that were served lately: a download in ranges would otherwise encrypt the whole object for each of them.

use std::collections::VecDeque;
use std::sync::Mutex;

use axum::body::Bytes;

use super::lock;
use crate::library::ObjectKey;

/// Bytes that are kept, apart from the object served last, whatever its size.
const CAPACITY: usize = 64 * 1024 * 1024;

/// (account, object) and its encrypted bytes, the latest first.
#[derive(Default)]
pub(crate) struct Cache(Mutex<VecDeque<((usize, ObjectKey), Bytes)>>);

impl Cache {
    pub(crate) fn get(&self, key: (usize, ObjectKey)) -> Option<Bytes> {
        let entries = lock(&self.0);
        entries
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, bytes)| bytes.clone())
    }

    pub(crate) fn put(&self, key: (usize, ObjectKey), bytes: Bytes) {
        let mut entries = lock(&self.0);
        entries.retain(|(known, _)| *known != key);
        entries.push_front((key, bytes));
        let mut total = 0;
        let kept = entries.iter().take_while(|(_, bytes)| {
            let fits = total == 0 || total + bytes.len() <= CAPACITY;
            total += bytes.len();
            fits
        });
        let kept = kept.count();
        entries.truncate(kept);
    }
}
