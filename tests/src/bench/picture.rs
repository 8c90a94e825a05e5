//! Curves as a picture: SVG, written by hand, since all it takes is lines and numbers.

use std::fmt::Write as _;

/// A curve and its name.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// How both axes are divided.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0.
    Even,
    /// By powers of ten.
    Tenfold,
}

/// What is drawn.
pub(super) struct Picture<'a> {
    pub(super) title: &'a str,
    pub(super) across: &'a str,
    pub(super) up: &'a str,
    pub(super) scale: Scale,
    pub(super) curves: &'a [Curve],
}

/// The picture in pixels.
const SIZE: (f64, f64) = (800.0, 400.0);
/// The field of the curves: left, top, right, bottom. Names stand to the right of it.
const FIELD: (f64, f64, f64, f64) = (60.0, 40.0, 580.0, 350.0);
/// Lines behind the curves: at round values, and where time grows in proportion.
const GRID: &str = "stroke=\"#ddd\"";
const GUIDE: &str = "stroke=\"#bbb\" stroke-dasharray=\"4 4\"";
/// Told apart by people who see few colours too.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444",
];

/// From a value to a place on one axis.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Holds all values, and begins and ends at a round one.
    fn over(scale: Scale, values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (least, most) = values
            .fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), value| {
                (least.min(value), most.max(value))
            });
        let (low, high) = match scale {
            Scale::Even => (0.0, round_up(most)),
            Scale::Tenfold => (
                10f64.powf(least.max(1e-6).log10().floor()),
                10f64.powf(most.max(1e-5).log10().ceil()),
            ),
        };
        Self {
            scale,
            low,
            high,
            start,
            end,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Even => value / self.high,
            Scale::Tenfold => (value / self.low).log10() / (self.high / self.low).log10(),
        };
        self.start + share * (self.end - self.start)
    }

    /// Values with a line and a number.
    fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Even => (0..=5)
                .map(|fifth| self.high * f64::from(fifth) / 5.0)
                .collect(),
            Scale::Tenfold => {
                let decades = (self.high / self.low).log10().round() as i32;
                (0..=decades)
                    .map(|decade| self.low * 10f64.powi(decade))
                    .collect()
            }
        }
    }
}

/// 1, 2 or 5 times a power of ten, or a little less than the value.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.max(1e-6).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value)
        .unwrap_or(value)
}

impl Picture<'_> {
    /// The picture as the text of an SVG file.
    pub(super) fn svg(&self) -> String {
        let (left, top, right, bottom) = FIELD;
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let x = Axis::over(self.scale, points().map(|point| point.0), left, right);
        let y = Axis::over(self.scale, points().map(|point| point.1), bottom, top);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"80\" y=\"22\" font-size=\"15\">{}</text>\n",
            SIZE.0, SIZE.1, self.title
        );
        let mut add = |part: String| svg.write_str(&part).expect("memory can be written");
        for value in x.marks() {
            let at = x.place(value);
            add(line((at, top), (at, bottom), GRID));
            add(text((at, bottom + 16.0), "middle", &number(value)));
        }
        for value in y.marks() {
            let at = y.place(value);
            add(line((left, at), (right, at), GRID));
            add(text((left - 6.0, at + 4.0), "end", &number(value)));
        }
        if self.scale == Scale::Tenfold {
            for value in y.marks() {
                // As far as the field goes.
                let most = (x.high / x.low).min(y.high / value);
                let end = (x.place(x.low * most), y.place(value * most));
                add(line((left, y.place(value)), end, GUIDE));
            }
        }
        add(text((right, bottom + 36.0), "end", self.across));
        add(text((8.0, top - 12.0), "start", self.up));
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let places: Vec<(f64, f64)> = curve
                .points
                .iter()
                .map(|point| (x.place(point.0), y.place(point.1)))
                .collect();
            let path = places
                .iter()
                .map(|(x, y)| format!("{x:.1} {y:.1}"))
                .collect::<Vec<_>>()
                .join(" L");
            add(format!(
                "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"
            ));
            if self.scale == Scale::Tenfold {
                places.iter().for_each(|(x, y)| {
                    add(format!(
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"
                    ))
                });
            }
        }
        for (row, (curve, colour)) in self.curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let at = top + 8.0 + 20.0 * row as f64;
            add(format!(
                "<rect x=\"{}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\n",
                right + 16.0,
                at - 6.0
            ));
            add(text((right + 36.0, at), "start", &curve.name));
        }
        svg.push_str("</svg>\n");
        svg
    }
}

fn line(from: (f64, f64), to: (f64, f64), look: &str) -> String {
    format!(
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {look}/>\n",
        from.0, from.1, to.0, to.1
    )
}

fn text(at: (f64, f64), anchor: &str, text: &str) -> String {
    format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>\n",
        at.0, at.1
    )
}

/// Without digits that say nothing.
fn number(value: f64) -> String {
    let rounded = format!("{value:.4}");
    rounded
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_begin_and_end_at_round_values() {
        let axis = Axis::over(Scale::Tenfold, [0.02, 3.0].into_iter(), 0.0, 300.0);
        assert_eq!((axis.low, axis.high), (0.01, 10.0));
        assert_eq!(axis.marks().len(), 4);
        assert!((axis.place(0.1) - 100.0).abs() < 1e-9);
        let axis = Axis::over(Scale::Even, [7.0, 43.0].into_iter(), 350.0, 50.0);
        assert_eq!((axis.low, axis.high, axis.place(25.0)), (0.0, 50.0, 200.0));
    }

    #[test]
    fn every_curve_is_drawn_and_named() {
        let curve = |name: &str| Curve {
            name: name.into(),
            points: vec![(1.0, 1.0), (100.0, 50.0)],
        };
        let picture = Picture {
            title: "growth",
            across: "files",
            up: "s",
            scale: Scale::Tenfold,
            curves: &[curve("ours"), curve("theirs")],
        };
        let svg = picture.svg();
        assert_eq!(svg.matches("<path").count(), 2);
        assert!(svg.contains(">ours</text>") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn no_two_curves_look_alike() {
        // `nothing` has the most.
        let curves: Vec<Curve> = (0..7)
            .map(|number| Curve {
                name: number.to_string(),
                points: vec![(1.0, 1.0), (2.0, 2.0)],
            })
            .collect();
        let picture = Picture {
            title: "growth",
            across: "files",
            up: "s",
            scale: Scale::Tenfold,
            curves: &curves,
        };
        let svg = picture.svg();
        let paths = svg.lines().filter(|line| line.starts_with("<path"));
        let mut looks: Vec<_> = paths.map(|path| path.split("stroke=").nth(1)).collect();
        looks.sort_unstable();
        looks.dedup();
        assert_eq!(looks.len(), curves.len());
    }
}
