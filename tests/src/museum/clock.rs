//! The server's clock: real, or fixed and moved by the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch, as links, codes and sessions see them. Clones share the time.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The fixed start, or `None` for the real time.
    fixed_s: Option<i64>,
    advanced_s: Arc<AtomicI64>,
}

impl Clock {
    /// The real time.
    pub fn system() -> Self {
        Self {
            fixed_s: None,
            advanced_s: Arc::default(),
        }
    }

    /// A clock that stands still at `unix_s` until it is advanced.
    pub fn fixed(unix_s: i64) -> Self {
        Self {
            fixed_s: Some(unix_s),
            advanced_s: Arc::default(),
        }
    }

    /// Moves the clock forward, whole seconds only.
    pub fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs())
            .expect("a test advances by less than an age of the universe");
        self.advanced_s.fetch_add(seconds, Ordering::Relaxed);
    }

    /// The time now, in whole seconds.
    pub fn now_s(&self) -> i64 {
        let start = self.fixed_s.unwrap_or_else(|| {
            let since_epoch = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("the clock is past 1970");
            i64::try_from(since_epoch.as_secs()).expect("seconds fit")
        });
        start + self.advanced_s.load(Ordering::Relaxed)
    }
}
