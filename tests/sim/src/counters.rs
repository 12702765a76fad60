//! What happened in a world, and how often: a test that idles shows here.

use std::collections::BTreeMap;
use std::fmt;

use crate::node::Seen;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(BTreeMap<&'static str, u64>);

impl Counters {
    pub fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// What became of a group between two looks at it.
    pub fn note_change(&mut self, before: Option<&Seen>, now: &Seen) {
        let Some(before) = before else { return };
        if now.leads() && !before.leads() {
            self.count("elections won");
        }
        self.add("commits seen", now.commit().saturating_sub(before.commit()));
        if now.voters != before.voters && now.is_joint() {
            self.count("joint configurations");
        }
    }

    /// Takes in the counts of another world.
    pub fn add_all(&mut self, other: &Counters) {
        for (what, count) in &other.0 {
            self.add(what, *count);
        }
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.0 {
            writeln!(f, "{count:>10}  {what}")?;
        }
        Ok(())
    }
}
