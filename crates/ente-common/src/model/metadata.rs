//! The effective metadata of a file: later edits over what was fixed at upload.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::lenient::{float, int, text};

/// What a file is, says and shows, after all edits. What is unknown, or was given in no usable form, is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EffectiveMetadata {
    /// The file name, extension included; may hold any characters.
    pub title: Option<String>,
    /// What the stored object is.
    pub file_type: FileType,
    /// When the picture was taken: microseconds since 1970, any number whatever.
    pub taken_at_us: Option<i64>,
    /// When the original was last modified: microseconds since 1970.
    pub modified_at_us: Option<i64>,
    /// Where it was taken.
    pub location: Option<Location>,
    /// The description that the owner wrote.
    pub caption: Option<String>,
    /// Whether the owner archived it.
    pub visibility: Visibility,
    /// Pixels.
    pub width: Option<i64>,
    /// Pixels.
    pub height: Option<i64>,
    /// Maker of the camera.
    pub camera_make: Option<String>,
    /// Model of the camera.
    pub camera_model: Option<String>,
    /// The name that an anonymous uploader of a public album gave.
    pub uploader_name: Option<String>,
    /// The clock on the wall when it was taken (ISO 8601, without zone), where it fits the instant.
    pub local_time: Option<String>,
    /// Offset of that clock: `±HH:mm` or `Z`.
    pub local_offset: Option<String>,
    /// Whole seconds of a video.
    pub duration_s: Option<i64>,
    /// Base64 of the BLAKE2b-512 of the original; of a live photo, those of its two parts joined by `:`.
    pub hash: Option<String>,
}

/// What the stored object of a file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum FileType {
    /// A still; also what files of the first clients, which did not say, are taken for.
    #[default]
    Image,
    /// A video.
    Video,
    /// A ZIP of a still and a video.
    LivePhoto,
    /// Anything else.
    Other,
}

/// Degrees north and east. Never (0, 0), which apps write for "none".
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// Where the apps show a file or a collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// In the timeline.
    #[default]
    Visible,
    /// In the archive.
    Archived,
    /// Behind a lock.
    Hidden,
}

impl Visibility {
    pub(super) fn of(private: Option<&Value>) -> Self {
        match private.and_then(|private| int(private, "visibility")) {
            Some(1) => Self::Archived,
            Some(2) => Self::Hidden,
            _ => Self::Visible,
        }
    }
}

impl EffectiveMetadata {
    /// Merges the decrypted objects of a file: `metadata` of the upload, `public` and `private` edits.
    ///
    /// Never fails: a field that makes no sense counts as absent, and so does everything in a value that is no
    /// object.
    pub fn merge(metadata: &Value, public: Option<&Value>, private: Option<&Value>) -> Self {
        let public = public.unwrap_or(&Value::Null);
        let positive = |key| int(public, key).filter(|&number| number > 0);

        let created_at_us = int(metadata, "creationTime");
        let taken_at_us = int(public, "editedTime")
            .filter(|&us| us != 0)
            .or(created_at_us);
        let local_time = text(public, "dateTime").filter(|local| fits(local, taken_at_us));
        let local_offset = local_time.as_ref().and_then(|_| text(public, "offsetTime"));
        Self {
            title: text(public, "editedName").or_else(|| text(metadata, "title")),
            file_type: file_type(metadata),
            taken_at_us,
            modified_at_us: int(metadata, "modificationTime")
                .filter(|&us| us != 0)
                .or(created_at_us),
            location: location(metadata, public),
            caption: text(public, "caption"),
            visibility: Visibility::of(private),
            width: positive("w"),
            height: positive("h"),
            camera_make: text(public, "cameraMake"),
            camera_model: text(public, "cameraModel"),
            uploader_name: text(public, "uploaderName"),
            local_time,
            local_offset,
            // Mobile writes 0 where it does not know.
            duration_s: int(metadata, "duration").filter(|&seconds| seconds > 0),
            hash: hash(metadata),
        }
    }
}

fn file_type(metadata: &Value) -> FileType {
    match metadata.get("fileType") {
        None | Some(Value::Null) => FileType::Image,
        Some(_) => match int(metadata, "fileType") {
            Some(0) => FileType::Image,
            Some(1) => FileType::Video,
            Some(2) => FileType::LivePhoto,
            _ => FileType::Other,
        },
    }
}

/// The edited place if there is one, else that of the upload. An edit to (0, 0) removes it.
fn location(metadata: &Value, public: &Value) -> Option<Location> {
    let pair = |object, latitude, longitude| {
        let (latitude, longitude) = (float(object, latitude)?, float(object, longitude)?);
        Some(Location {
            latitude,
            longitude,
        })
    };
    pair(public, "lat", "long")
        .or_else(|| pair(metadata, "latitude", "longitude"))
        // One zero is a place on the equator or the meridian of Greenwich.
        .filter(|place| place.latitude != 0.0 || place.longitude != 0.0)
}

fn hash(metadata: &Value) -> Option<String> {
    text(metadata, "hash").or_else(|| {
        // Live photos from early web clients.
        let (image, video) = (text(metadata, "imageHash")?, text(metadata, "videoHash")?);
        Some(format!("{image}:{video}"))
    })
}

/// Whether a local time can belong to an instant: some flows edit the instant and leave the local time behind.
fn fits(local: &str, taken_at_us: Option<i64>) -> bool {
    const MAX_OFFSET_US: u64 = 14 * 3_600_000_000;
    let as_utc = |local: DateTime| local.to_zoned(TimeZone::UTC);
    let Ok(local) = local.parse().and_then(as_utc) else {
        return false;
    };
    let local_us = local.timestamp().as_microsecond();
    taken_at_us.is_none_or(|taken_us| local_us.abs_diff(taken_us) <= MAX_OFFSET_US)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(metadata: Value, public: Value) -> EffectiveMetadata {
        EffectiveMetadata::merge(&metadata, Some(&public), None)
    }

    #[test]
    fn the_title_is_the_last_usable_name() {
        let rows = [
            (json!({"title": "a.jpg"}), json!({}), Some("a.jpg")),
            (
                json!({"title": "a.jpg"}),
                json!({"editedName": "b.jpg"}),
                Some("b.jpg"),
            ),
            (
                json!({"title": "a.jpg"}),
                json!({"editedName": ""}),
                Some("a.jpg"),
            ),
            (
                json!({"title": "a.jpg"}),
                json!({"editedName": " \n"}),
                Some("a.jpg"),
            ),
            (
                json!({"title": "a.jpg"}),
                json!({"editedName": null}),
                Some("a.jpg"),
            ),
            (
                json!({"title": "a.jpg"}),
                json!({"editedName": {}}),
                Some("a.jpg"),
            ),
            (json!({"title": 2023}), json!({}), Some("2023")),
            (json!({"title": null}), json!({}), None),
            (json!({}), json!(null), None),
            (json!([]), json!("x"), None),
        ];
        for (metadata, public, title) in rows {
            assert_eq!(
                merged(metadata.clone(), public.clone()).title.as_deref(),
                title,
                "{metadata} {public}"
            );
        }
    }

    #[test]
    fn edited_times_win_unless_they_are_zero() {
        let rows = [
            (
                json!({"creationTime": 5}),
                json!({"editedTime": 7}),
                Some(7),
                Some(5),
            ),
            (
                json!({"creationTime": 5}),
                json!({"editedTime": 0}),
                Some(5),
                Some(5),
            ),
            (
                json!({"creationTime": 5, "modificationTime": 6}),
                json!({"editedTime": null}),
                Some(5),
                Some(6),
            ),
            (
                json!({"creationTime": 5, "modificationTime": 0}),
                json!({"editedTime": -7}),
                Some(-7),
                Some(5),
            ),
            (json!({"creationTime": 0}), json!({}), Some(0), Some(0)),
            (
                json!({"creationTime": 1.6e15}),
                json!({"editedTime": "17"}),
                Some(17),
                Some(1_600_000_000_000_000),
            ),
            (
                json!({"creationTime": 1e300, "modificationTime": "x"}),
                json!({}),
                None,
                None,
            ),
            (
                json!({"creationTime": -446_752_800_000_000_i64}),
                json!({}),
                Some(-446_752_800_000_000),
                Some(-446_752_800_000_000),
            ),
            (json!({"modificationTime": 6}), json!({}), None, Some(6)),
            // Year 20000.
            (
                json!({"creationTime": 568_971_820_800_000_000_i64}),
                json!({}),
                Some(568_971_820_800_000_000),
                Some(568_971_820_800_000_000),
            ),
        ];
        for (metadata, public, taken, modified) in rows {
            let merged = merged(metadata.clone(), public.clone());
            assert_eq!(
                (merged.taken_at_us, merged.modified_at_us),
                (taken, modified),
                "{metadata} {public}"
            );
        }
    }

    #[test]
    fn a_place_is_a_pair_that_is_not_zero() {
        let upload = json!({"latitude": 48.5, "longitude": 2.25});
        let rows = [
            (json!({}), json!({}), None),
            (upload.clone(), json!({}), Some((48.5, 2.25))),
            (
                upload.clone(),
                json!({"lat": 1.5, "long": -2}),
                Some((1.5, -2.0)),
            ),
            (
                upload.clone(),
                json!({"lat": "1.5", "long": " -2 "}),
                Some((1.5, -2.0)),
            ),
            (upload.clone(), json!({"lat": 0, "long": 0.0}), None),
            (
                upload.clone(),
                json!({"lat": 0, "long": 2}),
                Some((0.0, 2.0)),
            ),
            (upload.clone(), json!({"lat": 1.5}), Some((48.5, 2.25))),
            (
                upload.clone(),
                json!({"lat": "NaN", "long": 2}),
                Some((48.5, 2.25)),
            ),
            (
                upload.clone(),
                json!({"lat": null, "long": null}),
                Some((48.5, 2.25)),
            ),
            (json!({"latitude": 0.0, "longitude": 0.0}), json!({}), None),
            (json!({"latitude": 0.0, "longitude": -0.0}), json!({}), None),
            (json!({"latitude": null, "longitude": 3}), json!({}), None),
            (
                json!({"latitude": 0, "longitude": 3}),
                json!({}),
                Some((0.0, 3.0)),
            ),
        ];
        for (metadata, public, place) in rows {
            let location = merged(metadata.clone(), public.clone()).location;
            let location = location.map(|place| (place.latitude, place.longitude));
            assert_eq!(location, place, "{metadata} {public}");
        }
    }

    #[test]
    fn types_that_nobody_knows_are_other() {
        let rows = [
            (json!({}), FileType::Image),
            (json!({"fileType": null}), FileType::Image),
            (json!({"fileType": 0}), FileType::Image),
            (json!({"fileType": 1.0}), FileType::Video),
            (json!({"fileType": "2"}), FileType::LivePhoto),
            (json!({"fileType": 3}), FileType::Other),
            (json!({"fileType": -1}), FileType::Other),
            (json!({"fileType": "video"}), FileType::Other),
        ];
        for (metadata, file_type) in rows {
            assert_eq!(
                merged(metadata.clone(), json!({})).file_type,
                file_type,
                "{metadata}"
            );
        }
    }

    #[test]
    fn a_stale_local_time_is_dropped() {
        let taken = 1_643_202_500_000_000_i64; // 2022-01-26T13:08:20Z
        let rows = [
            ("2022-01-26T13:08:20", true),
            ("2022-01-26T14:08:20.123", true),
            ("2022-01-27T03:08:20", true),
            ("2022-01-27T03:08:21", false),
            ("2022-01-25T23:08:20", true),
            ("2022-01-25T23:08:19", false),
            ("2021-01-26T13:08:20", false),
            ("yesterday", false),
            ("0000-00-00T00:00:00", false),
        ];
        for (local, kept) in rows {
            let public = json!({"dateTime": local, "offsetTime": "+01:00", "editedTime": taken});
            let merged = merged(json!({}), public);
            let expected = kept.then(|| (local.to_owned(), "+01:00".to_owned()));
            assert_eq!(
                merged.local_time.zip(merged.local_offset),
                expected,
                "{local}"
            );
        }
    }

    #[test]
    fn everything_else_is_read_or_absent() {
        let metadata = json!({
            "title": "a.mp4", "fileType": 1, "creationTime": 5, "duration": 12.0, "hash": "aGFzaA==", "version": 3,
            "deviceFolder": null, "localID": null, "from the future": [1],
        });
        let public = json!({
            "caption": 42, "w": [4000], "h": "3000", "cameraMake": "Ente", "cameraModel": " ",
            "uploaderName": "Ann", "mvi": 3, "sv": 1, "noThumb": true,
        });
        let private = json!({"visibility": 1.0});
        let expected = EffectiveMetadata {
            title: Some("a.mp4".into()),
            file_type: FileType::Video,
            taken_at_us: Some(5),
            modified_at_us: Some(5),
            caption: Some("42".into()),
            visibility: Visibility::Archived,
            width: Some(4000),
            height: Some(3000),
            camera_make: Some("Ente".into()),
            uploader_name: Some("Ann".into()),
            duration_s: Some(12),
            hash: Some("aGFzaA==".into()),
            ..EffectiveMetadata::default()
        };
        assert_eq!(
            EffectiveMetadata::merge(&metadata, Some(&public), Some(&private)),
            expected
        );

        let nothing = json!({"duration": 0, "hash": "", "imageHash": "aQ==", "version": null});
        let odd = json!({"caption": "", "w": [], "h": -1, "mvi": 0, "cameraMake": [], "uploaderName": null});
        assert_eq!(
            EffectiveMetadata::merge(&nothing, Some(&odd), Some(&json!({"visibility": 9}))),
            EffectiveMetadata::default()
        );
        let legacy = json!({"imageHash": "aQ==", "videoHash": "dg=="});
        assert_eq!(merged(legacy, json!({})).hash.as_deref(), Some("aQ==:dg=="));
    }
}
