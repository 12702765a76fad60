//! Values as scenarios write them, and as they go over the line.

use libraft_conformance::words::{hex, unhex};

/// Arguments and fields that are hexadecimal on the line, and readable in scenarios.
const HEXADECIMAL: &[&str] = &[
    "data",
    "key",
    "value",
    "directory",
    "state",
    "listen",
    "advertise",
    "result",
    "message",
    "address",
    "leader_address",
    "failure",
];

/// An argument as it goes over the line.
pub fn encode(name: &str, value: &str) -> Result<String, String> {
    match name {
        "data" => {
            let payloads: Result<Vec<String>, String> =
                value.split(';').map(|one| Ok(hex(&payload(one)?))).collect();
            Ok(payloads?.join(","))
        }
        _ if HEXADECIMAL.contains(&name) => Ok(hex(value.as_bytes())),
        _ => Ok(value.to_string()),
    }
}

/// A field of an answer as scenarios write it.
pub fn decode(name: &str, value: &str) -> Result<String, String> {
    if !HEXADECIMAL.contains(&name) {
        return Ok(value.to_string());
    }
    let bytes = unhex(value)?;
    match <[u8; 8]>::try_from(&bytes[..]) {
        // The results of the ledger are numbers.
        Ok(number) if name == "result" => Ok(format!("count({})", u64::from_le_bytes(number))),
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The bytes of a payload of the ledger.
fn payload(text: &str) -> Result<Vec<u8>, String> {
    let (verb, operands) = match text.split_once('(') {
        Some((verb, rest)) => (verb, rest.strip_suffix(')').ok_or("a payload ends with ')'")?),
        None => (text, ""),
    };
    let with_key = |letter: u8, key: &str, value: &str| {
        let length = u8::try_from(key.len()).map_err(|_| "a key has at most 255 bytes")?;
        Ok([&[letter, length], key.as_bytes(), value.as_bytes()].concat())
    };
    match verb {
        "set" => {
            let (key, value) = operands.split_once(',').ok_or("set(KEY,VALUE)")?;
            with_key(b's', key, value)
        }
        "del" => with_key(b'd', operands, ""),
        "fail" => Ok([b"x", operands.as_bytes()].concat()),
        "text" => Ok(operands.as_bytes().to_vec()),
        "bytes" => {
            let count = operands.parse().map_err(|_| "bytes(COUNT)")?;
            Ok(vec![b'.'; count])
        }
        "empty" => Ok(Vec::new()),
        _ => Err(format!("'{text}' is no payload")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_those_of_the_protocol() {
        assert_eq!(payload("set(ab,c)").as_deref(), Ok(&b"s\x02abc"[..]));
        assert_eq!(payload("del(ab)").as_deref(), Ok(&b"d\x02ab"[..]));
        assert_eq!(payload("fail(no)").as_deref(), Ok(&b"xno"[..]));
        assert_eq!(payload("bytes(3)").as_deref(), Ok(&b"..."[..]));
        assert_eq!(encode("data", "text(a);empty").as_deref(), Ok("61,-"));
        assert!(payload("set(ab").is_err() && payload("unset").is_err());
    }

    #[test]
    fn fields_become_readable() {
        assert_eq!(decode("result", "0700000000000000").as_deref(), Ok("count(7)"));
        assert_eq!(decode("value", "6162").as_deref(), Ok("ab"));
        assert_eq!(decode("index", "6162").as_deref(), Ok("6162"));
    }
}
