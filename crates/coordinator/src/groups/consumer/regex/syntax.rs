//! From RE2's syntax to that of the `regex` crate: what only RE2 has is spelled out, what only the crate has is taken literally or
//! refused.

/// The largest count of a repetition in RE2.
const MAX_REPEAT: u32 = 1000;

const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_ESCAPE: &str = "invalid escape sequence";
const BAD_CLASS: &str = "invalid character class range";
const BAD_REPEAT: &str = "invalid repeat count";
const BAD_NESTING: &str = "invalid nested repetition operator";

/// The classes of POSIX.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Stands for any character that no name of a topic has.
const FOREIGN: &str = r"\xFF";

/// The pattern for the `regex` crate, without Unicode. What is not balanced or complete is left for the crate to refuse.
pub fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut translation = Translation { rest: pattern, out: String::with_capacity(pattern.len()) };
    while !translation.rest.is_empty() {
        translation.step()?;
    }
    Ok(translation.out)
}

struct Translation<'a> {
    rest: &'a str,
    out: String,
}

impl Translation<'_> {
    fn step(&mut self) -> Result<(), &'static str> {
        let Some(first) = self.next() else { return Ok(()) };
        match first {
            '\\' => self.escape(false),
            '[' => self.class(),
            '(' if self.rest.starts_with('?') => self.flags(),
            '*' | '+' | '?' => {
                self.out.push(first);
                self.after_repeat()
            }
            '{' => self.repeat(),
            other => {
                self.literal(other);
                Ok(())
            }
        }
    }

    fn next(&mut self) -> Option<char> {
        let first = self.rest.chars().next()?;
        self.rest = &self.rest[first.len_utf8()..];
        Some(first)
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest.strip_prefix(prefix);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn literal(&mut self, literal: char) {
        if literal.is_ascii() { self.out.push(literal) } else { self.out += FOREIGN }
    }

    /// Inside and outside of classes alike, but for what a class cannot hold.
    fn escape(&mut self, in_class: bool) -> Result<(), &'static str> {
        let Some(escaped) = self.next() else {
            self.out.push('\\');
            return Ok(());
        };
        match escaped {
            'Q' if !in_class => {
                let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                for quoted in quoted.chars() {
                    self.quoted(quoted);
                }
            }
            'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.kept(escaped),
            'A' | 'z' | 'b' | 'B' if !in_class => self.kept(escaped),
            'x' => self.code_point()?,
            'p' | 'P' => self.unicode_class(escaped == 'P')?,
            '0'..='7' => self.octal(escaped)?,
            other if other == '_' || other.is_ascii() && !other.is_ascii_alphanumeric() => self.quoted(other),
            _ => return Err(BAD_ESCAPE),
        }
        Ok(())
    }

    fn kept(&mut self, escaped: char) {
        self.out.push('\\');
        self.out.push(escaped);
    }

    fn quoted(&mut self, literal: char) {
        if literal.is_ascii() { self.byte(u32::from(literal)) } else { self.out += FOREIGN }
    }

    fn byte(&mut self, code: u32) {
        if code < 0x80 { self.out += &format!(r"\x{code:02X}") } else { self.out += FOREIGN }
    }

    /// `\x7F` and `\x{10FFFF}`.
    fn code_point(&mut self) -> Result<(), &'static str> {
        let digits = if self.eat("{") {
            let (digits, rest) = self.rest.split_once('}').ok_or(BAD_ESCAPE)?;
            self.rest = rest;
            digits
        } else {
            let (digits, rest) = self.rest.split_at_checked(2).ok_or(BAD_ESCAPE)?;
            self.rest = rest;
            digits
        };
        let code = u32::from_str_radix(digits, 16).map_err(|_| BAD_ESCAPE)?;
        char::from_u32(code).ok_or(BAD_ESCAPE)?;
        self.byte(code);
        Ok(())
    }

    /// `\0`, `\07`, `\123`; a single digit but 0 would be a reference to a group, which RE2 has not.
    fn octal(&mut self, first: char) -> Result<(), &'static str> {
        if first != '0' && !self.rest.starts_with(|next| ('0'..='7').contains(&next)) {
            return Err(BAD_ESCAPE);
        }
        let mut code = first.to_digit(8).ok_or(BAD_ESCAPE)?;
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|next| next.to_digit(8)) else { break };
            code = code * 8 + digit;
            self.rest = &self.rest[1..];
        }
        self.byte(code);
        Ok(())
    }

    /// `\pN`, `\p{Greek}`, `\p{^Lu}`: what the class holds of ASCII, as a class of its own.
    fn unicode_class(&mut self, negated: bool) -> Result<(), &'static str> {
        let name = if self.eat("{") {
            let (name, rest) = self.rest.split_once('}').ok_or(BAD_CLASS)?;
            self.rest = rest;
            name
        } else {
            let length = self.rest.chars().next().map_or(0, char::len_utf8);
            let (name, rest) = self.rest.split_at(length);
            self.rest = rest;
            name
        };
        let (name, negated) = name.strip_prefix('^').map_or((name, negated), |name| (name, !negated));
        let members = ascii_of(name).ok_or(BAD_CLASS)?;
        self.out += &match (members, negated) {
            ("", false) => format!("[{FOREIGN}]"),
            ("", true) => r"[\x00-\xFF]".to_owned(),
            (members, false) => format!("[{members}]"),
            (members, true) => format!("[^{members}]"),
        };
        Ok(())
    }

    /// A class: a bracket inside it is a literal, and there are no operators on sets.
    fn class(&mut self) -> Result<(), &'static str> {
        self.out.push('[');
        if self.eat("^") {
            self.out.push('^');
        }
        if self.eat("]") {
            self.out += r"\]";
        }
        while !self.rest.is_empty() {
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest.find(":]")
            {
                let (name, rest) = self.rest.split_at(end + 2);
                let plain = name[2..end].strip_prefix('^').unwrap_or(&name[2..end]);
                if !POSIX.contains(&plain) {
                    return Err(BAD_CLASS);
                }
                self.out += name;
                self.rest = rest;
                continue;
            }
            match self.next() {
                Some(']') => {
                    self.out.push(']');
                    return Ok(());
                }
                Some('\\') => self.escape(true)?,
                Some('-') if self.out.ends_with('-') => self.quoted('-'),
                Some(literal @ ('[' | '&' | '~')) => self.quoted(literal),
                Some(literal) => self.literal(literal),
                None => {}
            }
        }
        Err("missing closing ]")
    }

    /// After `(`: named groups and the flags that RE2 knows.
    fn flags(&mut self) -> Result<(), &'static str> {
        self.out.push('(');
        if self.rest.starts_with("?P<")
            || self.rest.starts_with("?<") && !self.rest.starts_with("?<=") && !self.rest.starts_with("?<!")
        {
            return Ok(());
        }
        let flags = self.rest[1..].split_once([':', ')']).ok_or(BAD_PERL)?.0;
        if !flags.chars().all(|flag| matches!(flag, 'i' | 'm' | 's' | 'U' | '-')) {
            return Err(BAD_PERL);
        }
        Ok(())
    }

    /// After `{`: a count if it looks like one, otherwise a literal.
    fn repeat(&mut self) -> Result<(), &'static str> {
        let Some((counts, rest)) = self.rest.split_once('}') else {
            self.quoted('{');
            return Ok(());
        };
        if !is_counts(counts) {
            self.quoted('{');
            return Ok(());
        }
        let (low, high) = counts.split_once(',').unwrap_or((counts, counts));
        let count = |text: &str| text.parse().ok().filter(|count| *count <= MAX_REPEAT).ok_or(BAD_REPEAT);
        let (low, high) = (count(low)?, if high.is_empty() { MAX_REPEAT } else { count(high)? });
        if low > high {
            return Err(BAD_REPEAT);
        }
        self.rest = rest;
        self.out += &format!("{{{counts}}}");
        self.after_repeat()
    }

    /// After a repetition there may be a `?` that makes it lazy, but no other repetition.
    fn after_repeat(&mut self) -> Result<(), &'static str> {
        if self.eat("?") {
            self.out.push('?');
        }
        if self.rest.starts_with(['*', '+', '?']) || is_repeat(self.rest) {
            return Err(BAD_NESTING);
        }
        Ok(())
    }
}

/// Whether `{` and what follows it is a repetition.
fn is_repeat(text: &str) -> bool {
    text.strip_prefix('{').and_then(|text| text.split_once('}')).is_some_and(|(counts, _)| is_counts(counts))
}

/// `2`, `2,` or `2,3`
fn is_counts(counts: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let (low, high) = counts.split_once(',').unwrap_or((counts, counts));
    is_number(low) && (high.is_empty() || is_number(high))
}

/// The ASCII members of a class of Unicode, written for brackets. A script that is not listed has none.
fn ascii_of(name: &str) -> Option<&'static str> {
    Some(match name {
        "Any" => r"\x00-\x7F",
        "L" | "Latin" => "A-Za-z",
        "Lu" => "A-Z",
        "Ll" => "a-z",
        "N" | "Nd" => "0-9",
        "P" => r"!-#%-*,-/:;?@\[-\]_\{\}",
        "Pc" => "_",
        "Pd" => r"\-",
        "Po" => r"!-#%-'*,./:;?@\\",
        "Ps" => r"(\[\{",
        "Pe" => r")\]\}",
        "S" => r"$+<=>\^`|~",
        "Sm" => "+<=>|~",
        "Sc" => r"\$",
        "Sk" => r"\^`",
        "Z" | "Zs" => " ",
        "C" | "Cc" => r"\x00-\x1F\x7F",
        "Common" => r"\x00-@\[-`\{-\x7F",
        "Lm" | "Lo" | "Lt" | "M" | "Mc" | "Me" | "Mn" | "Nl" | "No" | "Pf" | "Pi" | "So" | "Zl" | "Zp"
        | "Cf" | "Co" | "Cs" => "",
        script if script.len() > 2 && script.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_') => "",
        _ => return None,
    })
}
