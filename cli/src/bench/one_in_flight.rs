//! Rows with one proposal in flight, beside the floor.
//!
//! The speed of a shared machine drifts within seconds, by more than what is to be seen here. So the floor and the rows
//! take turns, in short slices, and each figure is the median of its slices.

use super::cluster::{Cluster, Row};
use super::driver::{Load, Mode};
use super::{floor, Options, Outcome};

pub const MODES: [Mode; 2] = [Mode::Callback, Mode::Thread];
/// How often the turns go round; odd, so that there is a middle one.
const ROUNDS: usize = 7;
/// The part of a row's time that one slice takes.
const SLICES_PER_ROW: f64 = 4.0;

/// What a row came to, and the floor beside it.
pub struct BesideFloor {
    pub load: Load,
    pub row: Row,
    pub floor_us: f64,
}

pub fn measure(
    options: &Options,
    cluster: &mut Cluster,
    bytes: usize,
) -> Outcome<Vec<BesideFloor>> {
    let seconds = options.seconds / SLICES_PER_ROW;
    let loads = MODES.map(|mode| Load { bytes, in_flight: 1, mode, seconds });
    let mut floors_us = Vec::new();
    let mut slices = loads.each_ref().map(|_| Vec::new());
    for _ in 0..ROUNDS {
        floors_us.push(floor::measure_p50_us(&options.directory, bytes, seconds)?);
        for (load, rows) in loads.iter().zip(&mut slices) {
            rows.push(cluster.measure(load)?);
        }
    }
    let floor_us = median(floors_us);
    let row = |rows: Vec<Row>| {
        let of = |field: fn(&Row) -> f64| median(rows.iter().map(field).collect());
        Row {
            per_second: of(|row| row.per_second),
            p50_us: of(|row| row.p50_us),
            p99_us: of(|row| row.p99_us),
            cpu_seconds_per_million: of(|row| row.cpu_seconds_per_million),
        }
    };
    let rows = slices.map(row);
    let beside = |(load, row)| BesideFloor { load, row, floor_us };
    Ok(loads.into_iter().zip(rows).map(beside).collect())
}

/// The middle one of an odd number of values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_however_far_the_others_are() {
        assert_eq!(median(vec![1000.0, 3.0, 1.0]), 3.0);
        assert_eq!(median(vec![7.0]), 7.0);
    }
}
