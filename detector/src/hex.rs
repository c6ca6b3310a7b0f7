//! Bytes as lower-case hexadecimal digits.

use std::fmt;

/// Returns the bytes that hexadecimal digits stand for, two for each byte; `None` if they are not such digits.
pub fn decode(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { bytes } else { None }
}

/// Returns two digits for each byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    text.extend(bytes.iter().copied().flat_map(digits));
    text
}

/// Writes two digits for each byte, without allocating.
///
/// # Errors
/// Returns an error if `out` does.
pub fn write(out: &mut impl fmt::Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().copied().flat_map(digits).try_for_each(|digit| out.write_char(digit))
}

fn digits(byte: u8) -> [char; 2] {
    [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_standard_library() {
        let bytes: Vec<u8> = (0..=255).collect();
        let of = |byte: &u8| format!("{byte:02x}");
        let expected = bytes.iter().map(of).collect::<Vec<_>>().concat();
        assert_eq!(encode(&bytes), expected);
        let mut written = String::new();
        write(&mut written, &bytes).unwrap();
        assert_eq!(written, expected);
        assert_eq!(decode(&expected), Some(bytes));
        assert_eq!(decode("0A"), Some(vec![10]));
        assert!(["0", "0g", "é"].iter().all(|text| decode(text).is_none()));
    }
}
