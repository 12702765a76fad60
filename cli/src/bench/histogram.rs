//! Latencies in buckets that grow with them: 1/64 of precision, constant memory.

const SUB_BUCKETS: u64 = 64;

pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { counts: vec![0; (SUB_BUCKETS * 40) as usize], total: 0 }
    }

    pub fn record(&mut self, nanoseconds: u64) {
        let bucket = bucket(nanoseconds).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.total += 1;
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The latency in microseconds that `share` of all stay at or below.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(bucket as u64) as f64 / 1000.0;
            }
        }
        0.0
    }
}

fn bucket(value: u64) -> usize {
    if value < SUB_BUCKETS * 2 {
        return value as usize;
    }
    let shift = 63 - value.leading_zeros() as u64 - 6;
    (SUB_BUCKETS * shift + (value >> shift)) as usize
}

fn upper_end(bucket: u64) -> u64 {
    if bucket < SUB_BUCKETS * 2 {
        return bucket;
    }
    let shift = bucket / SUB_BUCKETS - 1;
    ((bucket - SUB_BUCKETS * shift + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_a_64th() {
        for value in (0..100_000u64).chain([1 << 20, (1 << 30) + 12345, 1 << 35]) {
            let end = upper_end(bucket(value) as u64);
            assert!(end >= value && end - value <= value / 64 + 1, "{value} became {end}");
        }
    }

    #[test]
    fn quantiles_follow_the_counts() {
        let mut histogram = Histogram::new();
        for value in 1..=100 {
            histogram.record(value * 1000);
        }
        assert!((histogram.quantile_us(0.5) - 50.0).abs() <= 1.0);
        assert!((histogram.quantile_us(0.99) - 99.0).abs() <= 2.0);
    }
}
