//! What people read: the table, and the page that keeps it.

use std::fs;
use std::path::{Path, PathBuf};

use super::contest::{Goal, Row};
use super::picture::{Curve, Picture, Scale};

const COLUMNS: [&str; 10] = [
    "case",
    "what",
    "time",
    "best",
    "CPU",
    "reference",
    "its time",
    "ratio",
    "peak",
    "goals",
];

/// The table as plain text, columns aligned.
pub(super) fn table(rows: &[Row]) -> String {
    let lines: Vec<[String; 10]> = std::iter::once(COLUMNS.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let widths: Vec<usize> = (0..COLUMNS.len())
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The same in Markdown.
fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(&COLUMNS.map(str::to_owned)) + &line(&COLUMNS.map(|_| "---".to_owned()));
    for row in rows {
        text.push_str(&line(&cells(row)));
    }
    text
}

fn cells(row: &Row) -> [String; 10] {
    let goals = row.goals.iter().map(|goal| {
        format!(
            "{} {}",
            goal_text(*goal),
            if row.meets(*goal) { "met" } else { "MISSED" }
        )
    });
    let mut goals = goals.collect::<Vec<_>>().join("; ");
    if !row.note.is_empty() {
        goals = if goals.is_empty() {
            row.note.clone()
        } else {
            format!("{goals} ({})", row.note)
        };
    }
    [
        row.case.clone(),
        row.entrant.clone(),
        seconds(row.wall_s),
        seconds(row.best_s),
        match row.cpu_s > 0.0 {
            true => seconds(row.cpu_s),
            // It was worked out, or this program did it.
            false => String::new(),
        },
        row.reference.clone(),
        row.reference_s.map(seconds).unwrap_or_default(),
        row.ratio
            .map(|ratio| format!("{ratio:.2}"))
            .unwrap_or_default(),
        if row.peak_bytes > 0 {
            format!("{:.1} MB", row.peak_bytes as f64 / 1e6)
        } else {
            String::new()
        },
        goals,
    ]
}

fn goal_text(goal: Goal) -> String {
    match goal {
        Goal::Ratio(most) => format!("≤ {most:.2} ×"),
        Goal::Seconds(most) => format!("≤ {}", seconds(most)),
        Goal::Megabytes(most) => format!("≤ {most} MB"),
        Goal::Rate { per_s, .. } => format!("≥ {per_s:.0} a second"),
        Goal::Holds(_) => "as counted".to_owned(),
    }
}

/// Three digits that mean something.
fn seconds(seconds: f64) -> String {
    match seconds {
        _ if seconds < 0.1 => format!("{:.2} ms", seconds * 1e3),
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.1} s"),
    }
}

/// Puts the rows of a case into docs/performance.md, and its picture beside it.
pub(super) fn write_docs(machine: &str, case: &str, rows: &[Row]) -> Result<(), String> {
    let page = docs().join("performance.md");
    let failed = |error: std::io::Error| format!("{}: {error}", page.display());
    let text = fs::read_to_string(&page).map_err(failed)?;
    let (begin, end) = (
        format!("<!-- figures of {case} -->\n"),
        format!("<!-- end of {case} -->"),
    );
    let parted = text
        .split_once(&*begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(&*end)?.1)));
    let (before, after) =
        parted.ok_or_else(|| format!("`{}` has no place for `{case}`", page.display()))?;
    let today = jiff::Zoned::now().date();
    let mut figures = format!("{today}, {machine}:\n\n{}\n", markdown(rows));
    if let Some(svg) = picture(rows) {
        let name = format!("performance-{case}.svg");
        fs::write(docs().join(&name), svg).map_err(failed)?;
        figures.push_str(&format!("![curves of {case}]({name})\n\n"));
    }
    fs::write(&page, format!("{before}{begin}\n{figures}{end}{after}")).map_err(failed)
}

/// The curves of a case: how time grows with the account, or how many downloads were under way.
fn picture(rows: &[Row]) -> Option<String> {
    let mut growth: Vec<Curve> = Vec::new();
    let mut things = "";
    for (row, of) in rows
        .iter()
        .filter_map(|row| Some((row, row.growth.as_ref()?)))
    {
        things = of.things;
        let point = (of.count as f64, row.wall_s);
        match growth.iter_mut().find(|curve| curve.name == of.curve) {
            Some(curve) => curve.points.push(point),
            None => growth.push(Curve {
                name: of.curve.clone(),
                points: vec![point],
            }),
        }
    }
    let drawn = rows.iter().filter(|row| !row.curve.is_empty());
    let curves = drawn.map(|row| Curve {
        name: row.case.clone(),
        points: row.curve.clone(),
    });
    let curves: Vec<Curve> = curves.collect();
    let picture = match (growth.is_empty(), curves.is_empty()) {
        (true, true) => return None,
        (false, _) => Picture {
            title: &format!("Time by the number of {things} (dashed: in proportion)"),
            across: things,
            up: "seconds",
            scale: Scale::Tenfold,
            curves: &growth,
        },
        (true, false) => Picture {
            title: "Requests that wait for their answer, --jobs auto",
            across: "seconds since the first request",
            up: "requests",
            scale: Scale::Even,
            curves: &curves,
        },
    };
    Some(picture.svg())
}

/// The documents of the checkout that this was built from.
fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_missed_goals_stand_out() {
        let row = |case: &str, ratio| Row {
            case: case.into(),
            ratio: Some(ratio),
            goals: vec![Goal::Ratio(1.3)],
            ..Row::default()
        };
        let text = table(&[row("short", 1.2), row("much longer", 1.4)]);
        let lines: Vec<&str> = text.lines().collect();
        let at = |line: &str| line.find('≤').unwrap();
        assert_eq!(at(lines[1]), at(lines[2]));
        assert!(lines[1].ends_with("≤ 1.30 × met") && lines[2].ends_with("≤ 1.30 × MISSED"));
    }
}
