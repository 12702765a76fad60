//! What a world is made from: a seed, and what is to be left out.

use std::collections::BTreeSet;
use std::fmt;

/// A kind of trouble. A seed draws which of them its world has; a failing seed is made smaller by leaving some out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Loss,
    Duplication,
    Reordering,
    Partition,
    SlowLink,
    Disconnect,
    PowerCut,
    Kill,
    Restart,
    SlowDisk,
    FullDisk,
    WriteError,
    SyncError,
    BitFlip,
    Wipe,
    OldImage,
    ClockSkew,
    ClockJump,
    Pause,
    SlowCallback,
    FailingCallback,
    PendingCallback,
    Reentrant,
    Membership,
    Transfer,
    Snapshot,
    StopGroup,
}

impl Fault {
    pub const ALL: [Fault; 27] = [
        Fault::Loss,
        Fault::Duplication,
        Fault::Reordering,
        Fault::Partition,
        Fault::SlowLink,
        Fault::Disconnect,
        Fault::PowerCut,
        Fault::Kill,
        Fault::Restart,
        Fault::SlowDisk,
        Fault::FullDisk,
        Fault::WriteError,
        Fault::SyncError,
        Fault::BitFlip,
        Fault::Wipe,
        Fault::OldImage,
        Fault::ClockSkew,
        Fault::ClockJump,
        Fault::Pause,
        Fault::SlowCallback,
        Fault::FailingCallback,
        Fault::PendingCallback,
        Fault::Reentrant,
        Fault::Membership,
        Fault::Transfer,
        Fault::Snapshot,
        Fault::StopGroup,
    ];

    /// The name on the command line: `slow-disk`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    pub fn from_name(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| fault.name() == name)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Settings {
    pub seed: u64,
    /// Events of the world before it is healed.
    pub steps: u64,
    /// Kinds of trouble that are left out. Everything else is drawn as if they were there.
    pub without: BTreeSet<Fault>,
    /// Whether to write down what happens.
    pub transcript: bool,
}

impl Settings {
    pub fn new(seed: u64) -> Settings {
        Settings { seed, steps: 10_000, without: BTreeSet::new(), transcript: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_trouble_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(Fault::from_name(&fault.name()), Some(fault));
        }
        assert_eq!(Fault::SlowDisk.name(), "slow-disk");
        assert_eq!(Fault::from_name("nothing"), None);
    }
}
