//! Rows that take turns.
//!
//! The speed of a shared machine and of its disk drifts within seconds, by more than what is to be seen here. So what is
//! compared with each other takes turns, in short slices, and each figure is the median of its slices.

use super::cluster::{Cluster, Row};
use super::driver::Load;
use super::Outcome;

/// How often the turns go round; odd, so that there is a middle one.
pub const ROUNDS: usize = 5;

/// Measures the loads in turn, and calls `first` before each round.
pub fn measure(
    cluster: &mut Cluster,
    loads: &[Load],
    mut first: impl FnMut() -> Outcome<()>,
) -> Outcome<Vec<Row>> {
    let mut slices: Vec<Vec<Row>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        first()?;
        for (load, rows) in loads.iter().zip(&mut slices) {
            rows.push(cluster.measure(load)?);
        }
    }
    Ok(slices.iter().map(|rows| middle(rows)).collect())
}

fn middle(rows: &[Row]) -> Row {
    let of = |field: fn(&Row) -> f64| median(rows.iter().map(field).collect());
    Row {
        per_second: of(|row| row.per_second),
        p50_us: of(|row| row.p50_us),
        p99_us: of(|row| row.p99_us),
        cpu_seconds_per_million: of(|row| row.cpu_seconds_per_million),
    }
}

/// The middle one of an odd number of values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_however_far_the_others_are() {
        assert_eq!(median(vec![3.0, 1000.0, 1.0]), 3.0);
        assert_eq!(median(vec![7.0]), 7.0);
    }
}
