//! File systems with other ideas of names.

use super::bench::{Bench, STEPS};
use super::{Case, Context, Need, Verdict};
use crate::faulty_disk::{FaultyDisk, Nature};
use crate::library::{Content, NewFile, Picture};

const FUSE: &[Need] = &[Need::Fuse];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "names of 143 bytes at most, as on eCryptfs (simulated: FUSE)",
        needs: FUSE,
        run: |context| {
            let nature = Nature {
                name_bytes: 143,
                claimed_bytes: 143,
                ..Nature::default()
            };
            odd_names(context, nature)
        },
    },
    Case {
        name: "names of 143 bytes at most, where 255 are claimed (simulated: FUSE)",
        needs: FUSE,
        run: |context| {
            let nature = Nature {
                name_bytes: 143,
                ..Nature::default()
            };
            odd_names(context, nature)
        },
    },
    Case {
        name: "names that differ in case or Unicode form only are the same, as on APFS and NTFS (simulated: FUSE)",
        needs: FUSE,
        run: |context| {
            let nature = Nature {
                folds: true,
                ..Nature::default()
            };
            odd_names(context, nature)
        },
    },
    Case {
        name: "names are stored decomposed and without case, as on HFS+ (simulated: FUSE)",
        needs: FUSE,
        run: |context| {
            let nature = Nature {
                folds: true,
                decomposes: true,
                ..Nature::default()
            };
            odd_names(context, nature)
        },
    },
];

fn odd_names(context: &Context, nature: Nature) -> Verdict {
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let disk = FaultyDisk::mount(scratch.path(), nature).map_err(|error| error.to_string())?;
    let export = disk.at.join("Ente");
    let mut bench = Bench::new(&context.tool);
    bench.museum.with_library(|library| {
        let live = library.live_mut();
        let album = live.create_album(&"é".repeat(80));
        for (number, title) in [
            format!("{}.jpg", "x".repeat(246)),
            format!("{}.jpg", "x".repeat(245)),
            format!("{}.JPG", "X".repeat(246)),
            "🏖".repeat(70),
            "Café.jpg".to_owned(),
            "CAFE\u{301}.JPG".to_owned(),
            "Straße.png".to_owned(),
            "STRASSE.PNG".to_owned(),
        ]
        .iter()
        .enumerate()
        {
            let picture = Picture {
                variant: 1000 + number as u64,
                ..Picture::default()
            };
            live.upload(album, NewFile::new(title, Content::Photo(picture)));
        }
    });
    for is_changed in [false, true] {
        if is_changed {
            bench.change();
        }
        match nature.decomposes {
            // What is listed bears other names than recorded: `ente-verify`, which asks by name, has to do.
            true => bench.steps(&export)?,
            false => bench.heals(&export)?,
        }
        for tool in STEPS {
            let outcome = bench.run(&[tool, &export.to_string_lossy()])?.expect(0);
            let news = outcome.records().len();
            if news > 2 {
                return Err(format!("a second `{tool}` finds news: {}", outcome.stdout));
            }
        }
    }
    Ok("all files came, and a second run found nothing to do".into())
}
