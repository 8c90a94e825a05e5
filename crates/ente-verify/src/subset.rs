//! `--subset I/N`: a share of the work that is the same in every run, so that N nights look at everything once. Pure.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The most shares: one a night for ten years.
const MOST: u32 = 3660;

/// One of several shares of an export.
///
/// Each file falls into one share by its ID alone, with all its albums, sidecars and objects, whatever else the export holds; each stray file by
/// its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subset {
    /// Counted from 0.
    index: u32,
    of: u32,
}

impl Subset {
    /// The first share: what cannot be shared out is in it.
    pub(crate) fn is_first(self) -> bool {
        self.index == 0
    }

    /// The file with this ID is in this share.
    pub(crate) fn has_file(self, id: i64) -> bool {
        self.has(&id.to_le_bytes())
    }

    /// The stray file at this path is in this share.
    pub(crate) fn has_path(self, path: &Path) -> bool {
        self.has(path.as_os_str().as_encoded_bytes())
    }

    fn has(self, name: &[u8]) -> bool {
        let hash = *blake3::hash(name).as_bytes();
        let number = hash.first_chunk().copied().map_or(0, u64::from_le_bytes);
        number % u64::from(self.of) == u64::from(self.index)
    }
}

impl FromStr for Subset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        let numbers = numbers.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((i, n)) if (1..=n).contains(&i) && n <= MOST => Ok(Self {
                index: i - 1,
                of: n,
            }),
            _ => Err(format!("give it as 1/N to N/N, with N up to {MOST}")),
        }
    }
}

impl fmt::Display for Subset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_shares_that_exist_are_taken() {
        for text in ["1/1", "1/30", "30/30", "3660/3660"] {
            assert_eq!(text.parse::<Subset>().unwrap().to_string(), text);
        }
        for text in [
            "", "1", "/", "0/30", "31/30", "1/0", "-1/3", "1/3/3", "1/3661", "1 / 3",
        ] {
            assert!(text.parse::<Subset>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_what_they_were() {
        // Computed apart with b3sum: a later release must not look at one file twice and at another never.
        let share = |id: i64| {
            (1..=30).find(|i| {
                Subset {
                    index: i - 1,
                    of: 30,
                }
                .has_file(id)
            })
        };
        let shares: Vec<_> = (1..=4).map(share).collect();
        assert_eq!(shares, [Some(3), Some(3), Some(18), Some(23)]);
    }

    proptest! {
        #[test]
        fn every_file_is_in_one_share(ids: Vec<i64>, paths: Vec<String>, of in 1..=MOST.min(40)) {
            let shares = || (0..of).map(|index| Subset { index, of });
            for id in ids {
                prop_assert_eq!(shares().filter(|share| share.has_file(id)).count(), 1);
            }
            for path in paths {
                let is_in = |share: &Subset| share.has_path(Path::new(&path));
                prop_assert_eq!(shares().filter(is_in).count(), 1);
            }
        }
    }
}
