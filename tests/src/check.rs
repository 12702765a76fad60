//! What was proposed, what was answered, and what the members may therefore hold.

use std::collections::{HashMap, HashSet};

#[derive(Default)]
pub struct History {
    entries: HashMap<String, Fate>,
    codes: HashMap<String, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Unanswered,
    Done,
    Rejected,
    Unknown,
}

impl History {
    pub fn proposed(&mut self, text: &str) {
        let before = self.entries.insert(text.to_string(), Fate::Unanswered);
        assert_eq!(before, None, "the test proposed '{text}' twice");
    }

    /// Takes note of an answer: `done`, `rejected` or `unknown`, the entry, and more.
    pub fn heard(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(word), Some(text)) = (words.next(), words.next()) else { return };
        let fate = match word {
            "done" => Fate::Done,
            "rejected" => Fate::Rejected,
            "unknown" => Fate::Unknown,
            _ => return,
        };
        let known = self.entries.get_mut(text);
        let known = known.unwrap_or_else(|| panic!("'{text}' was answered but never proposed"));
        assert_eq!(*known, Fate::Unanswered, "'{text}' was answered twice: {line}");
        *known = fate;
        if let (Fate::Rejected | Fate::Unknown, Some(code)) = (fate, words.next()) {
            *self.codes.entry(code.to_string()).or_default() += 1;
        }
    }

    /// How many proposals were answered with this code.
    pub fn failed_with(&self, code: &str) -> usize {
        self.codes.get(code).copied().unwrap_or(0)
    }

    /// Proposals without an answer that were made at one of these members.
    pub fn unanswered(&self, members: &[usize]) -> usize {
        let of_members =
            |text: &str| members.iter().any(|member| text.ends_with(&format!("-{}", member + 1)));
        self.entries
            .iter()
            .filter(|(text, fate)| **fate == Fate::Unanswered && of_members(text))
            .count()
    }

    /// The proposals of a member that was killed will never be answered.
    pub fn lost(&mut self, member: usize) {
        let suffix = format!("-{}", member + 1);
        for (text, fate) in &mut self.entries {
            if *fate == Fate::Unanswered && text.ends_with(&suffix) {
                *fate = Fate::Unknown;
            }
        }
    }

    pub fn done(&self) -> usize {
        self.entries.values().filter(|fate| **fate == Fate::Done).count()
    }

    /// Panics unless `held` has every acknowledged entry, no rejected one, and none twice or
    /// invented.
    pub fn check(&self, held: &[String], who: &str) {
        let mut seen = HashSet::new();
        for text in held {
            assert!(seen.insert(text), "{who} holds '{text}' twice");
            match self.entries.get(text) {
                None => panic!("{who} holds '{text}', which nobody proposed"),
                Some(Fate::Rejected) => panic!("{who} holds '{text}', which was rejected"),
                Some(_) => {}
            }
        }
        for (text, fate) in &self.entries {
            if *fate == Fate::Done {
                assert!(seen.contains(text), "{who} lost '{text}', which was acknowledged");
            }
        }
    }
}
