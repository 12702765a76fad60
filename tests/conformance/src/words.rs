//! The words of a line of the protocol: `name=value`, and bytes as hexadecimal.

use std::fmt::Write;

/// The named values of a line, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(pub Vec<(String, String)>);

impl Words {
    /// Reads `name=value` words; an error names the word that is none.
    pub fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Result<Words, String> {
        let mut named = Vec::new();
        for word in words {
            let (name, value) =
                word.split_once('=').ok_or_else(|| format!("'{word}' is not name=value"))?;
            named.push((name.to_string(), value.to_string()));
        }
        Ok(Words(named))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub fn push(&mut self, name: &str, value: impl ToString) {
        self.0.push((name.to_string(), value.to_string()));
    }

    /// As they are written behind the first words of a line, each with a space before it.
    pub fn to_line(&self) -> String {
        self.0.iter().fold(String::new(), |mut line, (name, value)| {
            // Writing to a string cannot fail.
            let _ = write!(line, " {name}={value}");
            line
        })
    }
}

/// Lower-case hexadecimal; `-` for no bytes.
pub fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_string();
    }
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn unhex(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        return Ok(Vec::new());
    }
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    bytes
        .filter(|_| digits.len() % 2 == 0 && !digits.is_empty())
        .ok_or_else(|| format!("'{text}' is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_comes_back_as_it_was_and_anything_else_is_refused() {
        for bytes in [&b""[..], b"\x00\xff", b"text"] {
            assert_eq!(unhex(&hex(bytes)).as_deref(), Ok(bytes));
        }
        for text in ["", "0", "0g", "+1", "\u{e4}"] {
            assert!(unhex(text).is_err(), "'{text}'");
        }
    }

    #[test]
    fn a_line_is_read_as_it_is_written() {
        let words = Words::parse("a=1 b= c=x=y".split(' ')).expect("three words");
        assert_eq!(words.get("c"), Some("x=y"));
        assert_eq!(words.to_line(), " a=1 b= c=x=y");
        assert!(Words::parse("a".split(' ')).is_err());
    }
}
