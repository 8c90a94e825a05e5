//! How many downloads run at once, and how fast.
//!
//! [`Jobs`] decides on numbers alone; [`Throttle`] waits.

use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The most downloads in flight that `auto` goes up to.
const MOST: usize = 64;
/// Where `auto` begins: enough to see whether more helps, few enough for a small server.
const FIRST: usize = 16;
/// What `auto` adds once doubling no longer pays.
const STEP: usize = 4;
/// Windows without a change after throughput stopped growing, and after the server was overloaded.
const PAUSE: u32 = 10;
const LONG_PAUSE: u32 = 20;

/// What `--jobs` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum JobsArg {
    /// As many as help.
    #[default]
    Auto,
    /// Exactly so many.
    Fixed(usize),
}

impl FromStr for JobsArg {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(number @ 1..=256) => Ok(Self::Fixed(number)),
            _ => Err("neither `auto` nor a number from 1 to 256".to_owned()),
        }
    }
}

/// The number of downloads in flight: grows while throughput grows, shrinks when the other side is overloaded.
#[derive(Debug)]
pub(crate) struct Jobs {
    limit: usize,
    fixed: bool,
    /// The throughput before the last step.
    before: f64,
    /// What the last step added.
    step: usize,
    /// Windows to wait before the next step.
    pause: u32,
}

impl Jobs {
    pub(crate) fn new(arg: JobsArg) -> Self {
        let (limit, fixed) = match arg {
            JobsArg::Auto => (FIRST, false),
            JobsArg::Fixed(number) => (number, true),
        };
        Self {
            limit,
            fixed,
            before: 0.0,
            step: 0,
            pause: 0,
        }
    }

    /// Downloads that may be in flight now.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Takes note of what one window of time moved while the limit was reached.
    pub(crate) fn window(&mut self, moved: f64) {
        if self.fixed {
            return;
        }
        if self.pause > 0 {
            self.pause -= 1;
            if self.pause == 0 {
                self.grow(STEP, moved);
            }
        } else if moved > 1.2 * self.before {
            self.grow(self.limit, moved);
        } else if moved > 1.03 * self.before {
            self.grow(STEP, moved);
        } else {
            // The last step brought nothing: take it back, and look again later, since conditions change.
            self.limit -= self.step;
            self.step = 0;
            self.pause = PAUSE;
        }
    }

    fn grow(&mut self, by: usize, moved: f64) {
        self.step = by.min(MOST - self.limit);
        self.limit += self.step;
        self.before = moved;
    }

    /// The server asked for less, or did not answer in time.
    pub(crate) fn overload(&mut self) {
        // Downloads that were in flight together fail together: that is one sign, not many.
        if self.fixed || self.pause > PAUSE {
            return;
        }
        self.limit = (self.limit / 2).max(1);
        self.step = 0;
        self.pause = LONG_PAUSE;
    }
}

/// Parses bytes per second: `500K`, `5M`, `1G`, or a plain number.
pub(crate) fn parse_rate(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.trim_end_matches(['B', 'b']) {
        text if text.ends_with(['k', 'K']) => (&text[..text.len() - 1], 1 << 10),
        text if text.ends_with(['m', 'M']) => (&text[..text.len() - 1], 1 << 20),
        text if text.ends_with(['g', 'G']) => (&text[..text.len() - 1], 1 << 30),
        text => (text, 1),
    };
    let number: f64 = digits
        .parse()
        .map_err(|_| "not a number with K, M or G".to_owned())?;
    let rate = number * f64::from(unit);
    if !(1.0..1e15).contains(&rate) {
        return Err("at least one byte per second is needed".to_owned());
    }
    Ok(rate as u64)
}

/// Spreads bytes over time, for all downloads together.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Bytes per second; none for as fast as it goes.
    rate: Option<u64>,
    /// When everything that was let through so far will have had its time.
    free_at: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self {
            rate,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until `bytes` more may pass.
    pub(crate) async fn pass(&self, bytes: usize) {
        if let Some(at) = self.reserve(bytes, Instant::now()) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// When `bytes` more may pass; takes their time from those that come after.
    fn reserve(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        let mut free_at = self
            .free_at
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let start = (*free_at).max(now);
        *free_at = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_grows_while_that_helps_and_then_rests() {
        let mut jobs = Jobs::new(JobsArg::Auto);
        let mut seen = vec![jobs.limit()];
        // A line that is full at 40 downloads.
        for _ in 0..6 {
            jobs.window(1000.0 * jobs.limit().min(40) as f64);
            seen.push(jobs.limit());
        }
        assert_eq!(seen, [16, 32, 64, 64, 64, 64, 64]);
        jobs.overload();
        jobs.overload();
        assert_eq!(
            jobs.limit(),
            32,
            "one overload, however many downloads noticed"
        );
        jobs.window(40_000.0);
        assert_eq!(jobs.limit(), 32, "not at once again");
    }

    #[test]
    fn a_step_that_brought_nothing_is_taken_back_and_tried_again_later() {
        let mut jobs = Jobs::new(JobsArg::Auto);
        jobs.window(1000.0);
        assert_eq!(jobs.limit(), 32);
        jobs.window(1010.0);
        assert_eq!(jobs.limit(), 16);
        (0..PAUSE).for_each(|_| jobs.window(1000.0));
        assert_eq!(jobs.limit(), 20);
        let mut fixed = Jobs::new(JobsArg::Fixed(3));
        fixed.window(1000.0);
        fixed.overload();
        assert_eq!(fixed.limit(), 3);
    }

    #[test]
    fn overload_never_stops_everything() {
        let mut jobs = Jobs::new(JobsArg::Auto);
        for _ in 0..200 {
            jobs.overload();
            jobs.window(1.0);
        }
        assert!(jobs.limit() >= 1);
    }

    #[test]
    fn rates_and_numbers_are_read() {
        for (text, rate) in [
            ("5M", Some(5 << 20)),
            ("500k", Some(500 << 10)),
            ("1.5G", Some(3 << 29)),
            ("1MB", Some(1 << 20)),
            ("4096", Some(4096)),
            ("0", None),
            ("-1M", None),
            ("NaN", None),
            ("fast", None),
            ("", None),
        ] {
            assert_eq!(parse_rate(text).ok(), rate, "{text}");
        }
        assert_eq!("auto".parse(), Ok(JobsArg::Auto));
        assert_eq!("7".parse(), Ok(JobsArg::Fixed(7)));
        assert!("0".parse::<JobsArg>().is_err());
    }

    #[test]
    fn bytes_are_spread_over_time() {
        let throttle = Throttle::new(Some(1000));
        let start = Instant::now();
        let waits = [0, 0, 0, 5000].map(|now_ms| {
            let now = start + Duration::from_millis(now_ms);
            let at = throttle.reserve(500, now).unwrap();
            at.duration_since(start).as_millis()
        });
        assert_eq!(waits, [0, 500, 1000, 5000], "idle time is not saved up");
        assert_eq!(Throttle::new(None).reserve(1 << 40, start), None);
    }
}
