//! The filter on the records that pass: what only keys can tell.
//!
//! An album chosen alone leaves only its placements in a record; a record without placements left is dropped.

use clap::{Args, ValueEnum};
use ente_common::model::{FileType, Visibility};
use globset::{GlobBuilder, GlobMatcher};
use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan as _};

use crate::sidecar::Subject;

/// Which files pass; without any of these, all do.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct Filter {
    /// Let only this album pass, by name or pattern (`*`, `?`, `[a-z]`, `{a,b}`); repeat for more
    #[arg(long, value_name = "NAME|GLOB")]
    album: Vec<Pattern>,
    /// Leave out this album, by name or pattern; repeat for more
    #[arg(long, value_name = "NAME|GLOB")]
    exclude_album: Vec<Pattern>,
    /// Let only this type pass; repeat for more
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    types: Vec<Type>,
    /// Let only files pass that were taken on this day (of UTC), at this time, or later
    #[arg(long, value_name = "DATE|TIME", value_parser = since)]
    since: Option<i64>,
    /// Let only files pass that were taken until the end of this day (of UTC), or until this time
    #[arg(long, value_name = "DATE|TIME", value_parser = until)]
    until: Option<i64>,
    /// Let only files pass that are in the account's own Favorites
    #[arg(long)]
    favorites: bool,
    /// Leave out hidden files and albums
    #[arg(long)]
    no_hidden: bool,
    /// Leave out archived files and albums
    #[arg(long)]
    no_archived: bool,
}

/// An album by name or pattern, whatever the case.
#[derive(Clone, Debug)]
struct Pattern {
    text: String,
    /// `None` for what can only be a name.
    glob: Option<GlobMatcher>,
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        let glob = GlobBuilder::new(text).case_insensitive(true).build();
        Self {
            text: text.to_owned(),
            glob: glob.ok().map(|glob| glob.compile_matcher()),
        }
    }
}

impl Pattern {
    /// A name with brackets in it is a pattern that does not match itself, so names are compared too.
    fn matches(&self, album: &str) -> bool {
        self.glob.as_ref().is_some_and(|glob| glob.is_match(album))
            || self.text.to_lowercase() == album.to_lowercase()
    }
}

/// A file type on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    Image,
    Video,
    LivePhoto,
    Other,
}

impl Type {
    fn is(self, file_type: FileType) -> bool {
        matches!(
            (self, file_type),
            (Self::Image, FileType::Image)
                | (Self::Video, FileType::Video)
                | (Self::LivePhoto, FileType::LivePhoto)
                | (Self::Other, FileType::Other)
        )
    }
}

impl Filter {
    /// Something is left out, perhaps.
    pub(crate) fn is_active(&self) -> bool {
        !(self.album.is_empty() && self.exclude_album.is_empty())
            || self.no_hidden
            || self.no_archived
            || self.judges_files()
    }

    /// Files are judged by their metadata, not only by their albums.
    pub(crate) fn judges_files(&self) -> bool {
        !self.types.is_empty()
            || self.since.is_some()
            || self.until.is_some()
            || self.favorites
            || self.no_hidden
            || self.no_archived
    }

    /// Placements in this album pass.
    pub(crate) fn takes_album(&self, name: &str, visibility: Visibility) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(name));
        (self.album.is_empty() || any(&self.album))
            && !any(&self.exclude_album)
            && self.takes_visibility(visibility)
    }

    /// The file passes, whatever its albums.
    pub(crate) fn takes_file(&self, subject: &Subject<'_>) -> bool {
        let metadata = subject.metadata;
        let in_time = match metadata.taken_at_us {
            Some(taken) => {
                self.since.is_none_or(|since| taken >= since)
                    && self.until.is_none_or(|until| taken < until)
            }
            None => self.since.is_none() && self.until.is_none(),
        };
        let is_type = self.types.is_empty() || self.types.iter().any(|t| t.is(metadata.file_type));
        in_time
            && is_type
            && (!self.favorites || subject.favorite)
            && self.takes_visibility(subject.visibility)
    }

    fn takes_visibility(&self, visibility: Visibility) -> bool {
        match visibility {
            Visibility::Visible => true,
            Visibility::Archived => !self.no_archived,
            Visibility::Hidden => !self.no_hidden,
        }
    }

    /// Patterns that match none of these albums: a slip of the pen, most likely.
    pub(crate) fn unmatched<'a>(&'a self, albums: &[&str]) -> Vec<&'a str> {
        self.album
            .iter()
            .chain(&self.exclude_album)
            .filter(|pattern| !albums.iter().any(|album| pattern.matches(album)))
            .map(|pattern| pattern.text.as_str())
            .collect()
    }
}

/// The first microsecond that counts.
fn since(text: &str) -> Result<i64, String> {
    parse(text, Ok, 0)
}

/// The first microsecond that counts no more.
fn until(text: &str) -> Result<i64, String> {
    parse(text, |date| date.checked_add(1.day()), 1)
}

fn parse(
    text: &str,
    bound: impl FnOnce(Date) -> Result<Date, jiff::Error>,
    after_time: i64,
) -> Result<i64, String> {
    if text.contains(['T', 't', ' ']) {
        let time: Timestamp = text
            .parse()
            .map_err(|_| "write a time as `2024-06-01T10:00:00+02:00`".to_owned())?;
        return Ok(time.as_microsecond() + after_time);
    }
    text.parse()
        .and_then(bound)
        .and_then(|date| Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)))
        .map(Timestamp::as_microsecond)
        .map_err(|_| "write a date as `2024-06-01`".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use ente_common::model::EffectiveMetadata;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        filter: Filter,
    }

    fn filter(args: &str) -> Filter {
        let args = args.split('|').filter(|arg| !arg.is_empty());
        Cli::try_parse_from(std::iter::once("x").chain(args))
            .unwrap()
            .filter
    }

    #[test]
    fn albums_match_by_name_and_pattern() {
        let rows = [
            ("", "Anything", true),
            ("--album|vacation*", "Vacation 2024", true),
            ("--album|Vacation", "Vacation 2024", false),
            ("--album|CAFÉ", "café", true),
            ("--album|*", "AC/DC: live", true),
            ("--album|x[1]", "x[1]", true),
            ("--album|x[1]", "x1", true),
            ("--album|a|--album|b", "B", true),
            ("--album|{a,b}", "B", true),
            ("--album|[x", "[X", true),
            ("--album|*|--exclude-album|screen*", "Screenshots", false),
            ("--exclude-album|screen*", "Camera", true),
        ];
        for (args, album, expected) in rows {
            let takes = filter(args).takes_album(album, Visibility::Visible);
            assert_eq!(takes, expected, "{args} {album}");
        }
        assert!(!filter("--no-hidden").takes_album("a", Visibility::Hidden));
        assert!(!filter("--no-archived").takes_album("a", Visibility::Archived));
        assert_eq!(filter("--album|a*|--album|b*").unmatched(&["Anna"]), ["b*"]);
    }

    #[test]
    fn files_pass_by_time_type_and_favour() {
        const NOON: i64 = 1_717_243_200_000_000; // 2024-06-01T12:00:00Z
        let video = EffectiveMetadata {
            file_type: FileType::Video,
            taken_at_us: Some(NOON),
            ..EffectiveMetadata::default()
        };
        let untimed = EffectiveMetadata::default();
        let rows = [
            ("", true, true),
            ("--since|2024-06-01", true, false),
            ("--since|2024-06-02", false, false),
            ("--until|2024-06-01", true, false),
            ("--until|2024-05-31", false, false),
            ("--since|2024-06-01T12:00:00Z", true, false),
            ("--since|2024-06-01T14:00:01+02:00", false, false),
            ("--until|2024-06-01T14:00:00+02:00", true, false),
            ("--type|video", true, false),
            ("--type|image", false, true),
            ("--type|image|--type|video", true, true),
            ("--type|live-photo", false, false),
            ("--favorites", false, false),
        ];
        for (args, first, second) in rows {
            for (metadata, expected) in [(&video, first), (&untimed, second)] {
                let subject = Subject {
                    id: 1,
                    owner: 1,
                    version: None,
                    metadata,
                    visibility: Visibility::Visible,
                    albums: &[],
                    favorite: false,
                };
                assert_eq!(filter(args).takes_file(&subject), expected, "{args}");
            }
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for args in [
            "--since|yesterday",
            "--since|2024-13-01",
            "--until|2024-06-01T25:00:00Z",
            "--since|2024-06-01T10:00:00",
            "--until|9999-12-31T",
        ] {
            let args = args.split('|');
            assert!(Cli::try_parse_from(std::iter::once("x").chain(args)).is_err());
        }
        assert_eq!(until("2024-06-01"), since("2024-06-02"));
    }
}
