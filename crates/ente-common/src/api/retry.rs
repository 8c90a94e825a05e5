//! When to try again: exponential backoff with jitter.

use std::time::Duration;

/// How often and after what pauses a call is repeated that failed for a reason that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// How many times after the first try; 0 never repeats.
    pub retries: u32,
    /// The pause before the first repetition; each later one doubles it.
    pub first_pause: Duration,
    /// No pause grows beyond this, whatever the server asks for.
    pub longest_pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            retries: 4,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The pause before repetition number `done + 1`, or nothing when there were enough.
    ///
    /// `asked` is the server's `Retry-After`. `dice` is random: clients that failed together must
    /// not come back together.
    pub fn pause(&self, done: u32, asked: Option<Duration>, dice: u32) -> Option<Duration> {
        if done >= self.retries {
            return None;
        }
        let doubled = self.first_pause.saturating_mul(1 << done.min(16));
        let full = doubled.min(self.longest_pause);
        let jittered = full.mul_f64(0.5 + 0.5 * f64::from(dice) / f64::from(u32::MAX));
        Some(
            jittered
                .max(asked.unwrap_or_default())
                .min(self.longest_pause),
        )
    }

    /// Waits before repetition number `done + 1`; false when there were enough.
    pub async fn wait(&self, done: u32, asked: Option<Duration>) -> bool {
        // Without randomness only the spreading is lost.
        let dice = getrandom::u32().unwrap_or(u32::MAX);
        let Some(pause) = self.pause(done, asked, dice) else {
            return false;
        };
        tokio::time::sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_are_spread_and_capped() {
        let retry = Retry {
            retries: 40,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(10),
        };
        let seconds = |n| Some(Duration::from_secs(n));
        for (done, asked, dice, pause) in [
            (0, None, u32::MAX, seconds(1)),
            (1, None, u32::MAX, seconds(2)),
            (1, None, 0, seconds(1)),
            (3, None, u32::MAX, seconds(8)),
            (4, None, u32::MAX, seconds(10)),
            (39, None, u32::MAX, seconds(10)),
            (40, None, u32::MAX, None),
            (0, seconds(7), 0, seconds(7)),
            (0, seconds(86_400), 0, seconds(10)),
        ] {
            assert_eq!(retry.pause(done, asked, dice), pause, "{done} {asked:?}");
        }
    }
}
