//! Pages of a diff, with the server's handling of equal times.

/// Cuts one page out of `rows` (time, value): those later than `since`, ascending.
///
/// A group of equal times is never split. When more than `target` rows are left, the group of the first row beyond
/// the page is left out; if nothing else is left, that whole group is the page, however long, and `true` (more to
/// come) even when nothing follows.
pub(crate) fn page<T>(mut rows: Vec<(i64, T)>, since: i64, target: usize) -> (Vec<T>, bool) {
    rows.retain(|(time, _)| *time > since);
    rows.sort_by_key(|(time, _)| *time);
    let has_more = rows.len() > target;
    if has_more {
        let beyond = rows[target].0;
        if rows[0].0 == beyond {
            rows.retain(|(time, _)| *time == beyond);
        } else {
            rows.retain(|(time, _)| *time < beyond);
        }
    }
    (rows.into_iter().map(|(_, row)| row).collect(), has_more)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rows: &[i64]) -> Vec<(i64, i64)> {
        rows.iter().map(|&time| (time, time)).collect()
    }

    #[test]
    fn pages_never_split_equal_times() {
        let cases: [(&[i64], i64, &[i64], bool); 7] = [
            (&[], 0, &[], false),
            (&[3, 1, 2], 0, &[1, 2, 3], false),
            (&[1, 2, 3, 4], 0, &[1, 2, 3], true),
            (&[1, 2, 3, 3], 0, &[1, 2], true),
            (&[5, 5, 5, 5, 5], 0, &[5, 5, 5, 5, 5], true),
            (&[5, 5, 5, 5, 9], 0, &[5, 5, 5, 5], true),
            (&[5, 5, 5, 5], 5, &[], false),
        ];
        for (rows, since, expected, more) in cases {
            assert_eq!(
                page(times(rows), since, 3),
                (expected.to_vec(), more),
                "{rows:?}"
            );
        }
    }
}
