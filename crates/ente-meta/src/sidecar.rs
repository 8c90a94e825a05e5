//! What is told about a file in plain text: the `metadata` of its record and the contents of its sidecars.
//!
//! Pure, from values to bytes. `docs/formats/sidecar.md` is the contract of the sidecar, `docs/formats/record.md` that of the record.

use ente_common::id::Version;
use ente_common::manifest::PartKey;
use ente_common::model::{EffectiveMetadata, FileType, Location, Visibility};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Raised when the form of sidecars changes, so that all are written anew.
pub const FORM: u32 = 1;

/// A file with all that is known of it.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// File ID.
    pub id: i64,
    /// User ID of its owner.
    pub owner: i64,
    /// Version of its content.
    pub version: Option<Version>,
    /// What was decrypted.
    pub metadata: &'a EffectiveMetadata,
    /// Where the apps show it, its albums considered.
    pub visibility: Visibility,
    /// Names of the albums that hold it, by ascending collection ID.
    pub albums: &'a [String],
    /// It is in the account's own Favorites.
    pub favorite: bool,
}

/// One exported file: a part of a subject in an album.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Collection ID.
    pub collection: i64,
    /// Name of the album.
    pub album: &'a str,
    /// Index of the part.
    pub part: usize,
}

/// Whether these are the contents of a sidecar of ours, of this part of a file in a collection, whatever else they say.
pub(crate) fn is_about(bytes: &[u8], (collection, file, part): PartKey) -> bool {
    #[derive(Deserialize)]
    struct Told {
        ente: About,
    }
    #[derive(Deserialize)]
    struct About {
        form: u32,
        file: i64,
        collection: i64,
        part: usize,
    }
    serde_json::from_slice(bytes).is_ok_and(|Told { ente }| {
        ente.form > 0 && (ente.collection, ente.file, ente.part) == (collection, file, part)
    })
}

/// How records, sidecars and the command line spell a file type.
pub fn type_name(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Image => "image",
        FileType::Video => "video",
        FileType::LivePhoto => "live-photo",
        FileType::Other => "other",
    }
}

/// How records and sidecars spell a visibility.
pub fn visibility_name(visibility: Visibility) -> &'static str {
    match visibility {
        Visibility::Visible => "visible",
        Visibility::Archived => "archived",
        Visibility::Hidden => "hidden",
    }
}

/// The `metadata` member of a `file` record.
#[derive(Serialize)]
struct RecordMetadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longitude: Option<f64>,
    favorite: bool,
    visibility: &'static str,
    albums: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera_make: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uploader: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'a str>,
}

/// The `metadata` member of the record of a file.
pub fn record_metadata(subject: &Subject<'_>) -> Value {
    let metadata = subject.metadata;
    let text = Option::as_deref;
    let told = RecordMetadata {
        title: text(&metadata.title),
        r#type: type_name(metadata.file_type),
        taken: metadata.taken_at_us.and_then(rfc3339),
        taken_us: metadata.taken_at_us,
        modified_us: metadata.modified_at_us,
        caption: text(&metadata.caption),
        latitude: metadata.location.map(|location| location.latitude),
        longitude: metadata.location.map(|location| location.longitude),
        favorite: subject.favorite,
        visibility: visibility_name(subject.visibility),
        albums: subject.albums,
        width: metadata.width,
        height: metadata.height,
        camera_make: text(&metadata.camera_make),
        camera_model: text(&metadata.camera_model),
        uploader: text(&metadata.uploader_name),
        local_time: text(&metadata.local_time),
        offset: text(&metadata.local_offset),
        duration_s: metadata.duration_s,
        hash: text(&metadata.hash),
    };
    serde_json::to_value(told).expect("plain data with text keys")
}

/// A sidecar in Google Takeout's form; the members stand in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sidecar<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    /// Read by importers.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    /// The same text, where Ente Desktop writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo_taken_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modification_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    geo_data: Option<GeoData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    favorited: Option<bool>,
    ente: Exact<'a>,
}

#[derive(Serialize)]
struct Time {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    formatted: Option<String>,
}

#[derive(Serialize)]
struct GeoData {
    latitude: f64,
    longitude: f64,
}

/// Everything exact; foreign readers leave it alone.
#[derive(Serialize)]
struct Exact<'a> {
    form: u32,
    file: i64,
    collection: i64,
    part: usize,
    owner: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    album: &'a str,
    albums: &'a [String],
    r#type: &'static str,
    visibility: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera_make: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    camera_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uploader: Option<&'a str>,
}

/// The bytes of a sidecar: the same values give the same bytes, on every machine.
pub fn contents(subject: &Subject<'_>, place: Place<'_>) -> Vec<u8> {
    let metadata = subject.metadata;
    let text = Option::as_deref;
    let sidecar = Sidecar {
        title: text(&metadata.title),
        description: text(&metadata.caption),
        caption: text(&metadata.caption),
        photo_taken_time: metadata.taken_at_us.map(time),
        creation_time: metadata.taken_at_us.map(time),
        modification_time: metadata.modified_at_us.map(time),
        geo_data: metadata.location.map(geo_data),
        favorited: subject.favorite.then_some(true),
        ente: Exact {
            form: FORM,
            file: subject.id,
            collection: place.collection,
            part: place.part,
            owner: subject.owner,
            version: subject.version,
            album: place.album,
            albums: subject.albums,
            r#type: type_name(metadata.file_type),
            visibility: visibility_name(subject.visibility),
            taken_us: metadata.taken_at_us,
            modified_us: metadata.modified_at_us,
            local_time: text(&metadata.local_time),
            offset: text(&metadata.local_offset),
            hash: text(&metadata.hash),
            width: metadata.width,
            height: metadata.height,
            duration_s: metadata.duration_s,
            camera_make: text(&metadata.camera_make),
            camera_model: text(&metadata.camera_model),
            uploader: text(&metadata.uploader_name),
        },
    };
    let mut bytes = serde_json::to_vec_pretty(&sidecar).expect("plain data with text keys");
    bytes.push(b'\n');
    bytes
}

fn geo_data(location: Location) -> GeoData {
    GeoData {
        latitude: location.latitude,
        longitude: location.longitude,
    }
}

/// Whole seconds, rounded down, and the time in words as Ente Desktop has it in English.
fn time(us: i64) -> Time {
    Time {
        timestamp: us.div_euclid(1_000_000).to_string(),
        formatted: in_common_years(us)
            .map(|time| time.strftime("%b %-d, %-Y, %-I:%M:%S %p UTC").to_string()),
    }
}

fn rfc3339(us: i64) -> Option<String> {
    in_common_years(us).map(|time| format!("{time:.6}"))
}

/// Years 1 to 9999: what calendars and RFC 3339 agree upon.
fn in_common_years(us: i64) -> Option<Timestamp> {
    const YEAR_1_US: i64 = -62_135_596_800_000_000;
    Timestamp::from_microsecond(us)
        .ok()
        .filter(|_| us >= YEAR_1_US)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject<'a>(metadata: &'a EffectiveMetadata, albums: &'a [String]) -> Subject<'a> {
        Subject {
            id: 101,
            owner: 7,
            version: None,
            metadata,
            visibility: metadata.visibility,
            albums,
            favorite: false,
        }
    }

    const PLACE: Place<'_> = Place {
        collection: 13,
        album: "A",
        part: 0,
    };

    fn sidecar(metadata: Value, edits: Value) -> Value {
        let metadata = EffectiveMetadata::merge(&metadata, Some(&edits), None);
        serde_json::from_slice(&contents(&subject(&metadata, &[]), PLACE)).unwrap()
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let metadata = EffectiveMetadata {
            title: Some("naïve \"1\".jpg".into()),
            caption: Some("Cake 🎂".into()),
            taken_at_us: Some(1_643_202_500_999_999),
            modified_at_us: Some(1_643_202_999_000_000),
            location: Some(Location {
                latitude: 12.004_170_700_000_001,
                longitude: -7.25,
            }),
            width: Some(4000),
            height: Some(3000),
            camera_make: Some("Canon".into()),
            camera_model: Some("EOS R5".into()),
            local_time: Some("2022-01-26T14:08:20".into()),
            local_offset: Some("+01:00".into()),
            hash: Some("aGFzaA==".into()),
            ..EffectiveMetadata::default()
        };
        let albums = ["A".to_owned(), "Favorites".to_owned()];
        let subject = Subject {
            favorite: true,
            version: "98c2787ef419b480".parse().ok(),
            ..subject(&metadata, &albums)
        };
        let page = include_str!("../../../docs/formats/sidecar.md");
        let example = page
            .split_once("```json\n")
            .and_then(|(_, rest)| rest.split_once("```"))
            .unwrap()
            .0;
        assert_eq!(
            String::from_utf8(contents(&subject, PLACE)).unwrap(),
            example
        );
    }

    #[test]
    fn odd_input_leaves_out_what_makes_no_sense() {
        let rows = [
            (json!({}), json!({}), "/photoTakenTime", Value::Null),
            (json!({}), json!({}), "/modificationTime", Value::Null),
            (json!({}), json!({}), "/title", Value::Null),
            (json!({}), json!({}), "/geoData", Value::Null),
            (json!({}), json!({}), "/favorited", Value::Null),
            (json!([1]), json!("x"), "/ente/type", json!("image")),
            (
                json!({"fileType": 9}),
                json!({}),
                "/ente/type",
                json!("other"),
            ),
            (json!({"title": 7}), json!({}), "/title", json!("7")),
            (
                json!({}),
                json!({"caption": 42}),
                "/description",
                json!("42"),
            ),
            (json!({}), json!({"caption": 42}), "/caption", json!("42")),
            (
                json!({}),
                json!({"caption": ""}),
                "/description",
                Value::Null,
            ),
            (
                json!({}),
                json!({"caption": null}),
                "/description",
                Value::Null,
            ),
            (
                json!({"creationTime": 1.6e15}),
                json!({}),
                "/photoTakenTime/timestamp",
                json!("1600000000"),
            ),
            (
                json!({"creationTime": "1600000000000000"}),
                json!({"editedTime": null}),
                "/creationTime/timestamp",
                json!("1600000000"),
            ),
            (
                json!({"creationTime": -1}),
                json!({}),
                "/photoTakenTime",
                json!({"timestamp": "-1", "formatted": "Dec 31, 1969, 11:59:59 PM UTC"}),
            ),
            (
                json!({"creationTime": 568_971_820_800_000_000_i64}),
                json!({}),
                "/photoTakenTime",
                json!({"timestamp": "568971820800"}),
            ),
            (
                json!({"creationTime": i64::MIN}),
                json!({}),
                "/photoTakenTime",
                json!({"timestamp": "-9223372036855"}),
            ),
            (
                json!({"creationTime": -62_135_596_800_000_001_i64}),
                json!({}),
                "/photoTakenTime",
                json!({"timestamp": "-62135596801"}),
            ),
            (
                json!({"creationTime": -62_135_596_800_000_000_i64}),
                json!({}),
                "/photoTakenTime/formatted",
                json!("Jan 1, 1, 12:00:00 AM UTC"),
            ),
            (
                json!({"latitude": 0, "longitude": 0.0}),
                json!({}),
                "/geoData",
                Value::Null,
            ),
            (
                json!({"latitude": 1.5, "longitude": 2}),
                json!({"lat": null, "long": null}),
                "/geoData",
                json!({"latitude": 1.5, "longitude": 2.0}),
            ),
        ];
        for (metadata, edits, pointer, expected) in rows {
            let case = format!("{metadata} {edits} {pointer}");
            let sidecar = sidecar(metadata, edits);
            let found = sidecar.pointer(pointer).cloned().unwrap_or_default();
            assert_eq!(found, expected, "{case}");
        }
    }

    #[test]
    fn a_record_tells_times_in_both_forms_while_the_calendar_has_them() {
        for (us, taken) in [
            (1_717_236_000_000_001, json!("2024-06-01T10:00:00.000001Z")),
            (-446_752_800_000_000, json!("1955-11-05T06:00:00.000000Z")),
            (568_971_820_800_000_000, Value::Null),
        ] {
            let metadata = EffectiveMetadata {
                taken_at_us: Some(us),
                ..EffectiveMetadata::default()
            };
            let told = record_metadata(&subject(&metadata, &[]));
            assert_eq!(told["taken_us"], us);
            assert_eq!(told["taken"], taken);
        }
    }
}
