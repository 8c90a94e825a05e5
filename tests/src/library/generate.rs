//! Made-up libraries of any size, as varied as real ones.

use std::ops::Range;

use serde_json::{Map, Value};

use super::content::Content;
use super::media::Picture;
use super::model::{Live, NewFile, Visibility};
use super::seed::{Seed, Stream};

/// What to make up.
#[derive(Debug, Clone)]
pub struct GenerateOptions {
    /// The same number gives the same library.
    pub seed: u64,
    /// E-mail address of the account.
    pub email: String,
    /// Its password.
    pub password: String,
    /// Files in all.
    pub files: usize,
    /// Albums of its own.
    pub albums: usize,
    /// Bytes of a photo: small ones are more frequent.
    pub photo_bytes: Range<usize>,
    /// Bytes of a video, and of each half of a live photo.
    pub video_bytes: Range<usize>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            email: "ada@example.org".to_owned(),
            password: "correct horse battery staple".to_owned(),
            files: 200,
            albums: 12,
            photo_bytes: 20_000..150_000,
            video_bytes: 100_000..800_000,
        }
    }
}

const PLACES: [(&str, f64, f64); 12] = [
    ("Lisbon", 38.7223, -9.1393),
    ("Kyoto", 35.0116, 135.7681),
    ("Reykjavík", 64.1466, -21.9426),
    ("Cape Town", -33.9249, 18.4241),
    ("Zürich", 47.3769, 8.5417),
    ("Valparaíso", -33.0472, -71.6127),
    ("Tromsø", 69.6492, 18.9553),
    ("京都の秋", 35.0116, 135.7681),
    ("Lake Como", 46.0160, 9.2572),
    ("Quito", -0.1807, -78.4678),
    ("St. Petersburg", 59.9311, 30.3609),
    ("Family / Friends", 52.5200, 13.4050),
];

const CAMERAS: [(&str, &str); 3] = [
    ("Apple", "iPhone 15"),
    ("Google", "Pixel 8"),
    ("Canon", "EOS R6"),
];

const CAPTIONS: [&str; 6] = [
    "sunset at the beach",
    "the whole family",
    "first day of school 🎒",
    "“look, a whale!”",
    "beach, wind, and two brave swimmers",
    "Großmutters Garten\nim Juli",
];

const ODD_TITLES: [&str; 6] = [
    "Résumé.jpg",
    "写真.JPG",
    "a/b:c?.jpg",
    "CON.jpg",
    "no extension",
    "trailing dot. .jpg",
];

/// 1 January 2019, when the first picture was taken.
const START_US: i64 = 1_546_300_800_000_000;
/// Seven years.
const SPAN_S: u64 = 7 * 365 * 24 * 3600;

/// Fills an empty library.
pub(super) fn fill(live: &mut Live, seed: Seed, options: &GenerateOptions) {
    let mut random = seed.stream("generate", &[]);
    let albums: Vec<(i64, usize)> = (0..options.albums.max(1))
        .map(|number| {
            (
                live.create_album(&album_name(number)),
                number % PLACES.len(),
            )
        })
        .collect();
    let camera_roll = live.create_folder("Camera");
    // Somebody else was there too, and called it the same.
    let shared = live.share_in("grace@example.org", &album_name(0));
    for number in 0..options.files {
        let (album, place) = *random.pick(&albums);
        let file = make(&mut random, number, place, options);
        match number % 40 {
            0 | 1 => {
                live.upload(shared, file);
                continue;
            }
            2..=5 => {
                live.upload(camera_roll, file);
                continue;
            }
            6 => {
                let uncategorized = live.uncategorized();
                live.upload(uncategorized, file);
                continue;
            }
            _ => {}
        }
        let id = live.upload(album, file);
        match number % 40 {
            7..=10 => {
                let (other, _) = *random.pick(&albums);
                live.add(id, other);
            }
            11 | 12 => live.favorite(id),
            13 => live.set_archived(id, true),
            14 => live.hide(id),
            15 => live.trash(id),
            16 => live.rename(id, &format!("Best of {number}.jpg")),
            _ => {}
        }
    }
    if let [_, .., (last, _)] = albums[..] {
        live.set_visibility(last, Visibility::Archived);
    }
}

fn album_name(number: usize) -> String {
    let (place, ..) = PLACES[number % PLACES.len()];
    let year = 2019 + (number + number / PLACES.len()) % 7;
    format!("{place} {year}")
}

fn make(random: &mut Stream, number: usize, place: usize, options: &GenerateOptions) -> NewFile {
    let (_, latitude, longitude) = PLACES[place];
    let wander = |random: &mut Stream| random.below(1000) as f64 / 20_000.0;
    let location =
        (random.below(10) < 7).then(|| (latitude + wander(random), longitude + wander(random)));
    let picture = |random: &mut Stream, bytes: &Range<usize>| {
        let min_len = length(random, bytes);
        let (columns, rows) = if min_len < 16_000 { (12, 9) } else { (60, 45) };
        Picture {
            variant: random.below(u64::MAX),
            columns,
            rows,
            min_len,
            taken_at_us: START_US + random.below(SPAN_S) as i64 * 1_000_000,
            location,
            camera: *random.pick(&CAMERAS),
        }
    };
    let (content, extension) = match number % 25 {
        3 | 11 => (Content::Video(picture(random, &options.video_bytes)), "MP4"),
        7 | 19 => {
            let picture = picture(random, &options.video_bytes);
            (
                Content::LivePhoto {
                    picture,
                    image: "JPG",
                    video: "MOV",
                },
                "JPG",
            )
        }
        _ => (Content::Photo(picture(random, &options.photo_bytes)), "JPG"),
    };
    // Cameras count to 9999 and start again, so names repeat, within albums too.
    let title = match number % 30 {
        9 => (*random.pick(&ODD_TITLES)).to_owned(),
        n if n < 20 => format!("IMG_{:04}.{extension}", random.below(3000)),
        _ => format!(
            "PXL_2023{:04}_{:06}.{}",
            101 + number % 28,
            number,
            extension.to_lowercase()
        ),
    };
    let mut file = NewFile::new(&title, content);
    if random.below(6) == 0 {
        let caption = *random.pick(&CAPTIONS);
        file.public = Map::from_iter([("caption".to_owned(), Value::from(caption))]);
    }
    file.has_info = random.below(50) != 0;
    file
}

/// A length in the range, each order of magnitude as likely as any other.
fn length(random: &mut Stream, range: &Range<usize>) -> usize {
    let (low, high) = (
        range.start.max(1) as f64,
        range.end.max(range.start + 1).max(2) as f64,
    );
    let share = random.below(1_000_000) as f64 / 1_000_000.0;
    (low * (high / low).powf(share)) as usize
}
