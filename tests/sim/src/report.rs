//! What came of a world.

use crate::counters::Counters;
use crate::observation::Violation;
use crate::settings::Settings;

/// See the module.
#[derive(Clone, Debug)]
pub struct Report {
    pub settings: Settings,
    /// How many steps were made; fewer than asked for if a rule was broken.
    pub steps: u64,
    /// Milliseconds of the world's own time.
    pub world_ms: u64,
    pub counters: Counters,
    /// Of every byte of every message and disk write, and of every observation.
    pub trace_hash: String,
    pub violation: Option<Violation>,
    /// What happened, if that was to be written down.
    pub lines: Vec<String>,
}

impl Report {
    /// A world that ended in a panic: nothing else is known of it.
    pub fn of_panic(settings: Settings, violation: Violation) -> Report {
        Report {
            settings,
            steps: 0,
            world_ms: 0,
            counters: Counters::default(),
            trace_hash: String::new(),
            violation: Some(violation),
            lines: Vec::new(),
        }
    }

    /// The command that shows this world again.
    pub fn command(&self) -> String {
        let Settings { seed, without, .. } = &self.settings;
        let names: Vec<String> = without.iter().map(|fault| fault.name()).collect();
        let without = match names.is_empty() {
            true => String::new(),
            false => format!(" WITHOUT={}", names.join(",")),
        };
        format!("make sim SEED={seed} STEPS={}{without}", self.settings.steps)
    }
}
