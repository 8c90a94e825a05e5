//! Runs ours and the references by turns, since a machine is not equally fast from one minute to the next, and compares what stood side by side.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::stopwatch::Taken;

/// Runs one entrant once; what is prepared for it within is not timed.
type Run<'a> = Box<dyn FnMut() -> Result<Taken, String> + 'a>;

/// Entrants that are run by turns.
pub(super) struct Contest<'a> {
    case: String,
    entrants: Vec<(String, Run<'a>)>,
    rounds: Rounds,
}

/// How often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    pub(super) least: usize,
    pub(super) most: usize,
    /// No further round begins after this time, once there were the least.
    pub(super) budget: Duration,
}

/// Just once.
pub(super) const ONCE: Rounds = Rounds {
    least: 1,
    most: 1,
    budget: Duration::ZERO,
};

/// What all runs took, entrant by entrant.
pub(super) struct Series {
    case: String,
    entrants: Vec<String>,
    /// Each has as many as there are entrants.
    rounds: Vec<Vec<Taken>>,
}

/// One run, as it is written down.
#[derive(Serialize)]
pub(super) struct Sample<'a> {
    case: &'a str,
    entrant: &'a str,
    round: usize,
    #[serde(flatten)]
    taken: &'a Taken,
}

impl<'a> Contest<'a> {
    pub(super) fn new(case: impl Into<String>, rounds: Rounds) -> Self {
        Self {
            case: case.into(),
            entrants: Vec::new(),
            rounds,
        }
    }

    /// Adds an entrant; they run in this order.
    pub(super) fn enter(
        &mut self,
        name: impl Into<String>,
        run: impl FnMut() -> Result<Taken, String> + 'a,
    ) {
        self.entrants.push((name.into(), Box::new(run)));
    }

    /// Runs them all.
    pub(super) fn run(mut self) -> Result<Series, String> {
        let start = Instant::now();
        let mut rounds = Vec::new();
        while rounds.len() < self.rounds.least
            || rounds.len() < self.rounds.most && start.elapsed() < self.rounds.budget
        {
            let round = self.entrants.iter_mut().map(|(_, run)| run());
            rounds.push(round.collect::<Result<_, _>>()?);
        }
        Ok(Series {
            case: self.case,
            entrants: self.entrants.into_iter().map(|(name, _)| name).collect(),
            rounds,
        })
    }
}

/// One round, to look entrants up in.
pub(super) struct Round<'a> {
    series: &'a Series,
    taken: &'a [Taken],
}

impl Round<'_> {
    /// The wall time of an entrant.
    pub(super) fn wall_s(&self, entrant: &str) -> f64 {
        self.taken[self.series.number(entrant)].wall_s
    }
}

impl Series {
    fn number(&self, entrant: &str) -> usize {
        let found = self.entrants.iter().position(|known| known == entrant);
        found.expect("the case names entrants of its own")
    }

    fn rounds(&self) -> impl Iterator<Item = Round<'_>> {
        self.rounds.iter().map(|taken| Round {
            series: self,
            taken,
        })
    }

    /// A row of the table about one entrant.
    pub(super) fn row(&self, entrant: &str) -> Row {
        let number = self.number(entrant);
        let taken: Vec<&Taken> = self.rounds.iter().map(|round| &round[number]).collect();
        let walls: Vec<f64> = taken.iter().map(|taken| taken.wall_s).collect();
        Row {
            case: self.case.clone(),
            entrant: entrant.to_owned(),
            wall_s: median(&walls),
            best_s: walls.iter().copied().fold(f64::INFINITY, f64::min),
            cpu_s: median(&taken.iter().map(|taken| taken.cpu_s()).collect::<Vec<_>>()),
            peak_bytes: taken
                .iter()
                .map(|taken| taken.peak_bytes())
                .max()
                .unwrap_or(0),
            runs: walls.len(),
            ..Row::default()
        }
    }

    /// The same, held against a reference of each round.
    pub(super) fn against(
        &self,
        entrant: &str,
        reference: &str,
        seconds: impl Fn(&Round<'_>) -> f64,
    ) -> Row {
        let references: Vec<f64> = self.rounds().map(|round| seconds(&round)).collect();
        let ratios: Vec<f64> = self
            .rounds()
            .zip(&references)
            .map(|(round, seconds)| round.wall_s(entrant) / seconds)
            .collect();
        Row {
            reference: reference.to_owned(),
            reference_s: Some(median(&references)),
            ratio: Some(median(&ratios)),
            ..self.row(entrant)
        }
    }

    /// The same, held against another entrant.
    pub(super) fn versus(&self, entrant: &str, reference: &str) -> Row {
        self.against(entrant, reference, |round| round.wall_s(reference))
    }

    /// Every run.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        let numbered = self.rounds.iter().enumerate();
        numbered.flat_map(move |(round, taken)| {
            self.entrants
                .iter()
                .zip(taken)
                .map(move |(entrant, taken)| Sample {
                    case: &self.case,
                    entrant,
                    round,
                    taken,
                })
        })
    }
}

/// A line of the table.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) case: String,
    pub(super) entrant: String,
    /// The median.
    pub(super) wall_s: f64,
    pub(super) best_s: f64,
    /// User and system, of all stages; the median.
    pub(super) cpu_s: f64,
    pub(super) peak_bytes: u64,
    pub(super) runs: usize,
    pub(super) reference: String,
    /// The median.
    pub(super) reference_s: Option<f64>,
    /// The median of the ratios of each round.
    pub(super) ratio: Option<f64>,
    pub(super) goals: Vec<Goal>,
    /// What else was seen.
    pub(super) note: String,
    pub(super) growth: Option<Growth>,
    /// Seconds since the start, and downloads in flight then.
    pub(super) curve: Vec<(f64, f64)>,
}

/// A point of a growth curve.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Growth {
    /// The name of the curve.
    pub(super) curve: String,
    /// How many things there were.
    pub(super) count: usize,
    /// What they are called.
    pub(super) things: &'static str,
}

/// What must be reached.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) enum Goal {
    /// Times the reference.
    Ratio(f64),
    /// Seconds of wall time.
    Seconds(f64),
    /// Millions of bytes in each tool.
    Megabytes(u64),
    /// So many things are done, at least so many a second.
    Rate { count: usize, per_s: f64 },
    /// Something that was counted is what it is to be.
    Holds(bool),
}

impl Row {
    pub(super) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    /// Held against the time that the same took with less, times as much more as there is.
    pub(super) fn in_proportion(mut self, seconds: f64) -> Self {
        self.reference = "in proportion".to_owned();
        self.reference_s = Some(seconds);
        self.ratio = Some(self.wall_s / seconds);
        self
    }

    /// It is a point of a growth curve.
    pub(super) fn growth(mut self, curve: &str, count: usize, things: &'static str) -> Self {
        self.growth = Some(Growth {
            curve: curve.to_owned(),
            count,
            things,
        });
        self
    }

    pub(super) fn curve(mut self, curve: Vec<(f64, f64)>) -> Self {
        self.curve = curve;
        self
    }

    /// Whether a goal is met.
    pub(super) fn meets(&self, goal: Goal) -> bool {
        match goal {
            Goal::Ratio(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            Goal::Seconds(most) => self.wall_s <= most,
            Goal::Megabytes(most) => self.peak_bytes <= most * 1_000_000,
            Goal::Rate { count, per_s } => count as f64 / self.wall_s >= per_s,
            Goal::Holds(holds) => holds,
        }
    }
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        length => (sorted[(length - 1) / 2] + sorted[length / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUNDS: Rounds = Rounds {
        least: 3,
        most: 3,
        budget: Duration::ZERO,
    };

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine gets slower by half from round to round; ours takes twice as long as the other in each of them, but once.
        let mut contest = Contest::new("case", ROUNDS);
        let mut times = [1.0, 10.0, 100.0].into_iter();
        contest.enter("theirs", move || Ok(Taken::seconds(times.next().unwrap())));
        let mut times = [2.0, 20.0, 1000.0].into_iter();
        contest.enter("ours", move || Ok(Taken::seconds(times.next().unwrap())));
        let series = contest.run().unwrap();
        let row = series.versus("ours", "theirs").goal(Goal::Ratio(2.0));
        assert_eq!(
            (row.wall_s, row.best_s, row.reference_s, row.ratio, row.runs),
            (20.0, 2.0, Some(10.0), Some(2.0), 3)
        );
        assert!(row.meets(Goal::Ratio(2.0)) && !row.meets(Goal::Ratio(1.9)));
        assert!(
            row.meets(Goal::Rate {
                count: 100,
                per_s: 5.0
            }) && !row.meets(Goal::Rate {
                count: 99,
                per_s: 5.0
            })
        );
        assert_eq!(series.samples().count(), 6);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(
            [median(&[]), median(&[3.0]), median(&[4.0, 1.0, 2.0, 9.0])],
            [0.0, 3.0, 3.0]
        );
    }
}
