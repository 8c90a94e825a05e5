//! The EXIF segment of a JPEG: camera, time, place.

use jiff::Timestamp;

use super::{Picture, jpeg};

/// A value of a directory entry.
enum Field {
    Ascii(String),
    Bytes(u16, Vec<u8>),
    Short(u16),
    Long(u32),
    Rationals(Vec<(u32, u32)>),
}

/// The whole APP1 segment.
pub(super) fn segment(picture: &Picture) -> Vec<u8> {
    let taken = Timestamp::from_microsecond(picture.taken_at_us).unwrap_or(Timestamp::UNIX_EPOCH);
    let taken = taken.strftime("%Y:%m:%d %H:%M:%S").to_string();
    let (make, model) = picture.camera;
    let details = vec![
        (0x9000, Field::Bytes(7, b"0232".to_vec())),
        (0x9003, Field::Ascii(taken.clone())),
        (0x9011, Field::Ascii("+00:00".to_owned())),
        (0xa002, Field::Long(u32::from(picture.columns) * 8)),
        (0xa003, Field::Long(u32::from(picture.rows) * 8)),
    ];
    let mut main = vec![
        (0x010f, Field::Ascii(make.to_owned())),
        (0x0110, Field::Ascii(model.to_owned())),
        (0x0112, Field::Short(1)),
        (0x0132, Field::Ascii(taken)),
        (0x8769, Field::Long(0)),
    ];
    if picture.location.is_some() {
        main.push((0x8825, Field::Long(0)));
    }
    // The lengths do not depend on the offsets, so the places of the inner directories are known beforehand.
    let details_at = 8 + directory(&main, 8).len() as u32;
    let details = directory(&details, details_at);
    let place_at = details_at + details.len() as u32;
    main[4].1 = Field::Long(details_at);
    let place = picture
        .location
        .map(place_fields)
        .map(|fields| directory(&fields, place_at));
    if let Some(pointer) = main.get_mut(5) {
        pointer.1 = Field::Long(place_at);
    }
    let tiff = [
        &b"II\x2a\x00\x08\x00\x00\x00"[..],
        &directory(&main, 8),
        &details,
        &place.unwrap_or_default(),
    ]
    .concat();
    let mut out = Vec::new();
    jpeg::segment(&mut out, 0xe1, &[b"Exif\0\0", &tiff[..]].concat());
    out
}

fn place_fields((latitude, longitude): (f64, f64)) -> Vec<(u16, Field)> {
    let reference = |value: f64, positive: &str, negative: &str| {
        Field::Ascii(if value < 0.0 { negative } else { positive }.to_owned())
    };
    vec![
        (0, Field::Bytes(1, vec![2, 3, 0, 0])),
        (1, reference(latitude, "N", "S")),
        (2, degrees(latitude)),
        (3, reference(longitude, "E", "W")),
        (4, degrees(longitude)),
    ]
}

/// Degrees, minutes and ten-thousandths of seconds.
fn degrees(value: f64) -> Field {
    let parts = (value.abs() * 3600.0 * 10_000.0).round() as u64;
    let seconds = (parts % 600_000) as u32;
    let minutes = (parts / 600_000 % 60) as u32;
    let degrees = (parts / 36_000_000) as u32;
    Field::Rationals(vec![(degrees, 1), (minutes, 1), (seconds, 10_000)])
}

/// A directory that starts at `offset` of the TIFF data, with the values that do not fit into its entries behind it.
fn directory(fields: &[(u16, Field)], offset: u32) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut values = Vec::new();
    let values_at = offset + 2 + 12 * fields.len() as u32 + 4;
    for (tag, field) in fields {
        let (kind, count, mut bytes) = encode(field);
        entries.extend(tag.to_le_bytes());
        entries.extend(kind.to_le_bytes());
        entries.extend(count.to_le_bytes());
        if bytes.len() <= 4 {
            bytes.resize(4, 0);
            entries.extend(bytes);
        } else {
            entries.extend((values_at + values.len() as u32).to_le_bytes());
            // Values start at even offsets.
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            values.extend(bytes);
        }
    }
    let count = (fields.len() as u16).to_le_bytes();
    [&count[..], &entries, &[0; 4], &values].concat()
}

/// Type, count and bytes of a value.
fn encode(field: &Field) -> (u16, u32, Vec<u8>) {
    match field {
        Field::Ascii(text) => {
            let bytes = [text.as_bytes(), &[0]].concat();
            (2, bytes.len() as u32, bytes)
        }
        Field::Bytes(kind, bytes) => (*kind, bytes.len() as u32, bytes.clone()),
        Field::Short(value) => (3, 1, value.to_le_bytes().to_vec()),
        Field::Long(value) => (4, 1, value.to_le_bytes().to_vec()),
        Field::Rationals(values) => {
            let bytes = values
                .iter()
                .flat_map(|(n, d)| [n.to_le_bytes(), d.to_le_bytes()].concat());
            (5, values.len() as u32, bytes.collect())
        }
    }
}
