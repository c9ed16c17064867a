//! Java's properties format (`java.util.Properties.load`).

use crate::ConfigError;

/// The pairs of a properties file in their order, duplicates kept.
///
/// A logical line is a key, a separator (`=`, `:` or white space) and a value. A line that ends in an odd number of backslashes
/// goes on in the next one, whose leading white space is dropped. `\t`, `\n`, `\r`, `\f` and `\uXXXX` are what they are in Java; a
/// backslash before anything else is dropped. Lines that begin with `#` or `!` are comments.
pub fn parse_properties(text: &str) -> Result<Vec<(String, String)>, ConfigError> {
    let mut pairs = Vec::new();
    let mut lines = text.split(['\n', '\r']).enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                // Of "\r\n" the splitting leaves an empty piece between the two.
                Some((_, "")) if text.contains("\r\n") => match lines.next() {
                    Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                    None => break,
                },
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        pairs.push(pair(&logical).map_err(|escape| malformed(number, &escape, text))?);
    }
    Ok(pairs)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn pair(line: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let key_end = line
        .char_indices()
        .find(|&(_, c)| {
            let ends = !escaped && (is_blank(c) || c == '=' || c == ':');
            escaped = c == '\\' && !escaped;
            ends
        })
        .map_or(line.len(), |(at, _)| at);
    let mut value = line[key_end..].trim_start_matches(is_blank);
    if let Some(rest) = value.strip_prefix(['=', ':']) {
        value = rest.trim_start_matches(is_blank);
    }
    Ok((unescape(&line[..key_end])?, unescape(value)?))
}

/// The error is the malformed escape.
fn unescape(text: &str) -> Result<String, String> {
    let mut units = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let rest = chars.as_str();
                    let unit = rest.get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
                    units.push(
                        unit.ok_or_else(|| format!("\\u{}", rest.chars().take(4).collect::<String>()))?,
                    );
                    chars = rest[4..].chars();
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut [0; 2]));
    }
    Ok(String::from_utf16_lossy(&units))
}

fn malformed(line: usize, escape: &str, text: &str) -> ConfigError {
    let number = if text.contains("\r\n") { line / 2 + 1 } else { line + 1 };
    ConfigError {
        key: None,
        message: format!(
            "line {number} of the properties has the escape {escape}, but \\u must be followed by four hexadecimal digits"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse_properties(text).expect("well-formed")
    }

    #[test]
    fn pairs_are_javas() {
        for (text, key, value) in [
            ("a=b", "a", "b"),
            ("a = b ", "a", "b "),
            ("  a:b", "a", "b"),
            ("a b", "a", "b"),
            ("a\t=\tb", "a", "b"),
            ("a", "a", ""),
            ("a==b", "a", "=b"),
            ("a=b=c:d", "a", "b=c:d"),
            ("a\\ b\\=c=d", "a b=c", "d"),
            ("a=1,\\\n   2,\\\n3", "a", "1,2,3"),
            ("a=1,\\\r\n   2", "a", "1,2"),
            ("a=b\\\\\nc=d", "a", "b\\"),
            ("a=\\u00e9\\ud83d\\ude00", "a", "é😀"),
            ("a=C\\:\\\\dir\\tx", "a", "C:\\dir\tx"),
            ("# c\n! d\n\n \t\na=b # not a comment", "a", "b # not a comment"),
            ("a=b\\", "a", "b"),
            ("a=ü", "a", "ü"),
        ] {
            assert_eq!(parsed(text)[0], (key.to_owned(), value.to_owned()), "{text}");
        }
    }

    #[test]
    fn duplicates_and_order_are_kept() {
        let pairs = parsed("b=1\na=2\r\nb=3\r");
        assert_eq!(pairs, [("b", "1"), ("a", "2"), ("b", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_malformed_escape_names_its_line() {
        let error = parse_properties("a=b\nc=\\u12x\n").expect_err("not hexadecimal");
        assert!(error.message.contains("line 2") && error.message.contains("\\u12x"), "{error}");
    }
}
