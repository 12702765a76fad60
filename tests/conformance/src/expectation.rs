//! What a scenario expects of an answer: `ok index>=2 value=green`, `error NOT_LEADER|NO_LEADER rejected leader=1`.

use std::collections::HashMap;

use libraft_conformance::words::Words;

use crate::process::Answer;
use crate::value::decode;

pub type Variables = HashMap<String, String>;

#[derive(Clone, Debug)]
pub struct Expectation {
    ok: bool,
    /// Of an error: the codes that it may have.
    codes: Vec<String>,
    fields: Vec<Field>,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    relation: Relation,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Equal,
    Unequal,
    AtLeast,
    AtMost,
    Contains,
}

/// The longer ones first: `>=` ends with `=`.
const RELATIONS: &[(&str, Relation)] = &[
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("!=", Relation::Unequal),
    ("=", Relation::Equal),
    ("~", Relation::Contains),
];

impl Expectation {
    pub fn parse(words: &[String]) -> Result<Expectation, String> {
        let (kind, mut rest) = words.split_first().ok_or("what is expected?")?;
        let ok = match kind.as_str() {
            "ok" => true,
            "error" => false,
            _ => return Err(format!("an answer is ok or error, not '{kind}'")),
        };
        let mut codes = Vec::new();
        let mut fields = Vec::new();
        if !ok {
            let (list, behind) = rest.split_first().ok_or("an error has a code")?;
            codes = list.split('|').map(str::to_string).collect();
            rest = behind;
        }
        for word in rest {
            fields.push(match word.as_str() {
                "rejected" | "unknown" if !ok => Field {
                    name: "outcome".to_string(),
                    relation: Relation::Equal,
                    value: word.clone(),
                },
                _ => field(word)?,
            });
        }
        Ok(Expectation { ok, codes, fields })
    }

    /// Whether the answer is what is expected; if not, why. Variables that have no value yet get theirs.
    pub fn check(&self, answer: &Answer, variables: &mut Variables) -> Result<(), String> {
        if answer.ok != self.ok {
            return Err(format!("the answer is {}", describe(answer)));
        }
        let code = answer.words.get("code").unwrap_or_default();
        if !self.ok && !self.codes.iter().any(|expected| expected == code) {
            return Err(format!("the answer is {}", describe(answer)));
        }
        let mut bound = Variables::new();
        for field in &self.fields {
            let found = value_of(&answer.words, &field.name)
                .ok_or_else(|| format!("no {} in {}", field.name, describe(answer)))??;
            let expected = match field.value.strip_prefix('$') {
                Some(name) => match variables.get(name) {
                    Some(value) => value.clone(),
                    None => {
                        bound.insert(name.to_string(), found);
                        continue;
                    }
                },
                None => field.value.clone(),
            };
            if !field.relation.holds(&found, &expected) {
                return Err(format!(
                    "{} is '{found}', and should be {} '{expected}': {}",
                    field.name,
                    field.relation.word(),
                    describe(answer)
                ));
            }
        }
        variables.extend(bound);
        Ok(())
    }
}

fn field(word: &str) -> Result<Field, String> {
    for (sign, relation) in RELATIONS {
        if let Some((name, value)) = word.split_once(sign) {
            let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            if is_name(name) {
                let (name, value) = (name.to_string(), value.to_string());
                return Ok(Field { name, relation: *relation, value });
            }
        }
    }
    Err(format!("'{word}' expects nothing"))
}

/// A field, readable; `None` if the answer has none of that name.
fn value_of(words: &Words, name: &str) -> Option<Result<String, String>> {
    let all = |word: &str| -> Vec<String> {
        let found = words.0.iter().filter(|(name, _)| name == word);
        found.map(|(_, value)| value.clone()).collect()
    };
    match name {
        // Of a batch: how many entries were applied, and how many were not, with their codes.
        "applied_entries" => {
            let applied = all("r").into_iter().filter(|r| r.matches(':').count() == 2);
            Some(Ok(applied.count().to_string()))
        }
        "refused_entries" => {
            let refused = all("r").into_iter().filter(|r| r.matches(':').count() == 1);
            Some(Ok(refused.collect::<Vec<String>>().join(",")))
        }
        // The results of a batch, as counts.
        "results" => Some(
            all("r")
                .iter()
                .map(|r| decode("result", r.rsplit(':').next().unwrap_or_default()))
                .collect::<Result<Vec<String>, String>>()
                .map(|results| results.join(",")),
        ),
        // Who is a member, and as what.
        "members" => {
            let mut members: Vec<String> = all("m")
                .iter()
                .map(|member| {
                    let parts: Vec<&str> = member.split(':').collect();
                    format!("{}:{}", parts[0], parts.get(2).unwrap_or(&""))
                })
                .collect();
            members.sort();
            Some(Ok(members.join(",")))
        }
        _ => words.get(name).map(|value| decode(name, value)),
    }
}

/// An answer in words, for people.
pub fn describe(answer: &Answer) -> String {
    let mut text = if answer.ok { "ok" } else { "error" }.to_string();
    for (name, value) in &answer.words.0 {
        let value = decode(name, value).unwrap_or_else(|_| value.clone());
        text.push_str(&format!(" {name}={value}"));
    }
    text
}

impl Relation {
    fn holds(self, found: &str, expected: &str) -> bool {
        let numbers = || Some((found.parse::<u64>().ok()?, expected.parse::<u64>().ok()?));
        match self {
            Relation::Equal => found == expected,
            Relation::Unequal => found != expected,
            Relation::Contains => found.contains(expected),
            Relation::AtLeast => numbers().is_some_and(|(found, expected)| found >= expected),
            Relation::AtMost => numbers().is_some_and(|(found, expected)| found <= expected),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Relation::Equal => "equal to",
            Relation::Unequal => "other than",
            Relation::AtLeast => "at least",
            Relation::AtMost => "at most",
            Relation::Contains => "something with",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(ok: bool, words: &str) -> Answer {
        let words = Words::parse(words.split(' ')).expect("these are words");
        Answer { ok, words }
    }

    fn expectation(text: &str) -> Expectation {
        let words: Vec<String> = text.split(' ').map(str::to_string).collect();
        Expectation::parse(&words).expect("this is an expectation")
    }

    #[test]
    fn an_answer_is_held_against_every_field() {
        let mut variables = Variables::new();
        let found = answer(true, "index=7 value=6162 result=0100000000000000");
        let mut check = |text: &str| expectation(text).check(&found, &mut variables);
        assert_eq!(check("ok index>=7 index<=7 value=ab result=count(1) value~b index=$i"), Ok(()));
        for text in ["ok index>=8", "ok value=a", "ok index!=7", "error BUSY", "ok other=1"] {
            assert!(check(text).is_err(), "{text}");
        }
        assert_eq!(check("ok index=$i"), Ok(()));
        assert!(expectation("ok index=$i")
            .check(&answer(true, "index=8"), &mut variables)
            .is_err());
    }

    #[test]
    fn an_error_is_held_against_codes_and_outcome() {
        let mut variables = Variables::new();
        let found = answer(false, "code=BUSY outcome=rejected");
        let mut check = |text: &str| expectation(text).check(&found, &mut variables);
        assert_eq!(check("error NO_LEADER|BUSY rejected"), Ok(()));
        for text in ["error BUSY unknown", "error NO_LEADER", "ok"] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn batches_and_members_are_summed_up() {
        let mut variables = Variables::new();
        let batch = answer(true, "r=2:1:0100000000000000 r=BUSY:rejected");
        let batch_is = "ok applied_entries=1 refused_entries=BUSY:rejected";
        assert_eq!(expectation(batch_is).check(&batch, &mut variables), Ok(()));
        let members = answer(true, "m=2:2:learner:- m=1:1:voter:-");
        let members_are = "ok members=1:voter,2:learner";
        assert_eq!(expectation(members_are).check(&members, &mut variables), Ok(()));
    }
}
