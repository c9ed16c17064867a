//! From text to a checked value, and back to the text that Kafka's tools show.

use super::{DefaultValue, KeyDef, Kind, Valid};
use crate::InvalidConfig;
use crate::listener;

/// A value of the key's type.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    /// Also classes: they are names that nothing is loaded for.
    Text(String),
    List(Vec<String>),
    Password(String),
}

impl Value {
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value of any whole number.
    pub fn as_long(&self) -> Option<i64> {
        match *self {
            Self::Int(value) => Some(value.into()),
            Self::Short(value) => Some(value.into()),
            Self::Long(value) => Some(value),
            _ => None,
        }
    }

    /// What DescribeConfigs shows (`ConfigDef.convertToString`); `None` for null. Whether it may be shown at all is for the caller.
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) => java_double(*value),
            Self::Text(value) | Self::Password(value) => value.clone(),
            Self::List(values) => values.join(","),
        })
    }
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password(_) => f.write_str("[hidden]"),
            shown => f.write_str(shown.to_text().as_deref().unwrap_or("null")),
        }
    }
}

impl KeyDef {
    /// Parses and checks one value, with Kafka's message (`ConfigException`) when it is refused.
    pub fn parse(&self, raw: &str) -> Result<Value, InvalidConfig> {
        let value = self.parse_kind(raw)?;
        self.check(&value)?;
        Ok(value)
    }

    /// The default, parsed. Required keys give null.
    pub fn default_value(&self) -> Result<Value, InvalidConfig> {
        match self.default {
            DefaultValue::Is(text) => self.parse_kind(text),
            DefaultValue::Null | DefaultValue::Required => Ok(Value::Null),
        }
    }

    /// What would be allowed, as the end of a sentence: "must be ...".
    pub fn allowed(&self) -> String {
        let kind = match self.kind {
            Kind::Boolean => return "true or false".into(),
            Kind::Int | Kind::Short | Kind::Long => "a whole number",
            Kind::Double => "a number",
            Kind::List => "a list separated by commas",
            Kind::Text | Kind::Class | Kind::Password => "text",
        };
        match self.valid {
            Valid::Any | Valid::NonNull => match self.kind {
                Kind::Int => format!("{kind} of at most {}", i32::MAX),
                Kind::Short => format!("{kind} of at most {}", i16::MAX),
                Kind::Long => format!("{kind} of at most {}", i64::MAX),
                _ => kind.into(),
            },
            Valid::AtLeast(min) => format!("{kind} of at least {min}"),
            Valid::Between(min, max) => format!("{kind} from {min} to {max}"),
            Valid::OneOf(of) | Valid::OneOfAnyCase(of) => format!("one of {}", of.join(", ")),
            Valid::List { of: [], empty: false, .. } => {
                "a list of different entries separated by commas, and not empty".into()
            }
            Valid::List { of: [], .. } => "a list of different entries separated by commas".into(),
            Valid::List { of, empty, .. } => {
                let or_empty = if empty { ", or empty" } else { "" };
                format!("a list, without repetitions, of {}{or_empty}", of.join(", "))
            }
            Valid::NonEmpty => "text that is not empty".into(),
            Valid::GzipLevel => "a whole number from 1 to 9, or -1".into(),
            Valid::Voters => "a list of id@host:port separated by commas".into(),
            Valid::BootstrapServers => "a list of host:port separated by commas".into(),
            Valid::ThrottledReplicas => "a list of partition:broker separated by commas, or *".into(),
            Valid::OffsetReset => "latest, earliest, or by_duration: and an ISO 8601 duration".into(),
        }
    }

    /// The column "valid values" of Kafka's tables.
    pub fn valid_text(&self) -> String {
        match self.valid {
            Valid::Any | Valid::List { of: [], .. } => String::new(),
            Valid::AtLeast(min) => format!("[{min},...]"),
            Valid::Between(min, max) => format!("[{min},...,{max}]"),
            Valid::OneOf(of) | Valid::List { of, .. } => format!("[{}]", of.join(", ")),
            Valid::OneOfAnyCase(of) => format!("(case insensitive) [{}]", of.join(", ")),
            Valid::NonNull => "non-null string".into(),
            Valid::NonEmpty => "non-empty string".into(),
            Valid::GzipLevel => "[1,...,9] or -1".into(),
            Valid::Voters | Valid::BootstrapServers => "non-empty list".into(),
            Valid::ThrottledReplicas => "[partitionId]:[brokerId],[partitionId]:[brokerId],...".into(),
            Valid::OffsetReset => "[latest, earliest, by_duration:PnDTnHnMn.nS]".into(),
        }
    }

    fn parse_kind(&self, raw: &str) -> Result<Value, InvalidConfig> {
        let trimmed = raw.trim_matches(|c: char| c <= ' ');
        let number = |parsed: Option<Value>| {
            parsed.ok_or_else(|| self.invalid(raw, &format!("Not a number of type {}", self.kind.name())))
        };
        match self.kind {
            Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
            Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
            Kind::Boolean => Err(self.invalid(raw, "Expected value to be either true or false")),
            Kind::Int => number(trimmed.parse().ok().map(Value::Int)),
            Kind::Short => number(trimmed.parse().ok().map(Value::Short)),
            Kind::Long => number(trimmed.parse().ok().map(Value::Long)),
            Kind::Double => number(parse_double(trimmed).map(Value::Double)),
            Kind::Text | Kind::Class => Ok(Value::Text(trimmed.to_owned())),
            Kind::Password => Ok(Value::Password(trimmed.to_owned())),
            Kind::List if trimmed.is_empty() => Ok(Value::List(Vec::new())),
            Kind::List => Ok(Value::List(self.split(trimmed))),
        }
    }

    /// The entries of a list. Of entries that must differ the later ones are dropped, as Kafka does it.
    fn split(&self, text: &str) -> Vec<String> {
        let mut entries: Vec<String> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let repeated =
                matches!(self.valid, Valid::List { .. }) && entries.iter().any(|seen| seen == entry);
            if !repeated {
                entries.push(entry.to_owned());
            }
        }
        entries
    }

    fn check(&self, value: &Value) -> Result<(), InvalidConfig> {
        match (self.valid, value) {
            (Valid::AtLeast(min), value) => self.check_range(value, min, f64::INFINITY),
            (Valid::Between(min, max), value) => self.check_range(value, min, max),
            (Valid::OneOf(of), Value::Text(text)) => self.check_member(text, of),
            (Valid::OneOfAnyCase(of), Value::Text(text)) => {
                if of.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)) {
                    return Ok(());
                }
                Err(self
                    .invalid(text, &format!("String must be one of (case insensitive): {}", of.join(", "))))
            }
            (Valid::List { of, empty, .. }, Value::List(values)) => self.check_list(values, of, empty),
            (Valid::NonEmpty, Value::Text(text)) if text.is_empty() => {
                Err(self.invalid("", "String must be non-empty"))
            }
            (Valid::GzipLevel, &Value::Int(level)) if level != -1 && !(1..=9).contains(&level) => {
                Err(self.invalid(&level.to_string(), "Value must be between 1 and 9 or equal to -1"))
            }
            (Valid::Voters, Value::List(voters)) => listener::parse_voters(voters).map(|_| ()),
            (Valid::BootstrapServers, Value::List(servers)) => {
                listener::parse_bootstrap_servers(servers).map(|_| ())
            }
            (Valid::ThrottledReplicas, Value::List(replicas)) if !are_throttled_replicas(replicas) => {
                let why = format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                );
                Err(self.invalid(&format!("[{}]", replicas.join(", ")), &why))
            }
            (Valid::OffsetReset, Value::Text(text)) if !is_offset_reset(text) => {
                let why = format!(
                    "Invalid value `{text}` for configuration {}. The value must be either 'earliest', 'latest' or of the format \
                     'by_duration:<PnDTnHnMn.nS>'.",
                    self.name
                );
                Err(self.invalid(text, &why))
            }
            _ => Ok(()),
        }
    }

    fn check_range(&self, value: &Value, min: f64, max: f64) -> Result<(), InvalidConfig> {
        let number = match *value {
            Value::Double(number) => number,
            // The comparison is Kafka's: in doubles.
            #[allow(clippy::cast_precision_loss)]
            ref whole => whole.as_long().map_or(f64::NAN, |whole| whole as f64),
        };
        let shown = value.to_text().unwrap_or_default();
        if number < min {
            return Err(self.invalid(&shown, &format!("Value must be at least {min}")));
        }
        if number > max {
            return Err(self.invalid(&shown, &format!("Value must be no more than {max}")));
        }
        Ok(())
    }

    fn check_member(&self, text: &str, of: &[&str]) -> Result<(), InvalidConfig> {
        if of.contains(&text) {
            return Ok(());
        }
        Err(self.invalid(text, &format!("String must be one of: {}", of.join(", "))))
    }

    fn check_list(&self, values: &[String], of: &[&str], empty: bool) -> Result<(), InvalidConfig> {
        let name = self.name;
        if !empty && values.is_empty() {
            let wanted =
                if of.is_empty() { "any non-empty value".into() } else { format!("[{}]", of.join(", ")) };
            return Err(InvalidConfig::new(format!(
                "Configuration '{name}' must not be empty. Valid values include: {wanted}"
            )));
        }
        for value in values {
            if value.is_empty() {
                return Err(InvalidConfig::new(format!("Configuration '{name}' values must not be empty.")));
            }
            if !of.is_empty() {
                self.check_member(value, of)?;
            }
        }
        Ok(())
    }

    fn invalid(&self, value: &str, why: &str) -> InvalidConfig {
        InvalidConfig::new(format!("Invalid value {value} for configuration {}: {why}", self.name))
    }
}

/// `*`, nothing, or `partition:broker` pairs.
fn are_throttled_replicas(replicas: &[String]) -> bool {
    let is_pair = |text: &String| {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        text.is_empty()
            || text.split_once(':').is_some_and(|(partition, broker)| digits(partition) && digits(broker))
    };
    replicas == ["*"] || replicas.iter().all(is_pair)
}

/// The values of `share.auto.offset.reset`.
fn is_offset_reset(text: &str) -> bool {
    match text.strip_prefix("by_duration:") {
        Some(duration) => is_duration(&duration.to_ascii_lowercase()),
        None => text == "earliest" || text == "latest",
    }
}

/// Whether this is an ISO 8601 duration that is not negative, as `java.time.Duration` reads it, in lower case: `pNdTnHnMn.nS`.
fn is_duration(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('p') else { return false };
    let (mut in_time, mut parts, mut next_unit, mut total) = (false, 0, 0, 0.0);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('t') {
            if in_time || time.is_empty() {
                return false;
            }
            (in_time, rest) = (true, time);
            continue;
        }
        let digits = rest.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else { return false };
        let Some(unit) = rest[digits..].chars().next() else { return false };
        // Units in the order they may come in, with their seconds.
        let units = [('d', 86_400.0), ('h', 3600.0), ('m', 60.0), ('s', 1.0)];
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else { return false };
        if at < next_unit || (at > 0) != in_time || (rest[..digits].contains('.') && unit != 's') {
            return false;
        }
        total += number * units[at].1;
        (parts, next_unit, rest) = (parts + 1, at + 1, &rest[digits + 1..]);
    }
    parts > 0 && total >= 0.0
}

/// `Double.parseDouble`: a trailing `d` or `f` is allowed, infinity and not-a-number only under Java's names.
fn parse_double(text: &str) -> Option<f64> {
    let unsigned = text.trim_start_matches(['+', '-']);
    if unsigned == "Infinity" || unsigned == "NaN" {
        return text.replace("Infinity", "inf").parse().ok();
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().ok()
}

/// `Double.toString`: always with a fraction, and with an exponent outside of 10^-3 to 10^7.
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if value == 0.0 || value.is_nan() || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:E}");
    match scientific.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_shown_as_java_shows_them() {
        for (value, text) in [
            (0.5, "0.5"),
            (2.0, "2.0"),
            (0.0, "0.0"),
            (1e7, "1.0E7"),
            (12_345_678.9, "1.23456789E7"),
            (0.0005, "5.0E-4"),
            (f64::MAX, "1.7976931348623157E308"),
        ] {
            assert_eq!(java_double(value), text);
            assert_eq!(parse_double(text), Some(value));
        }
        assert_eq!(parse_double("1d"), Some(1.0));
        assert_eq!(parse_double("inf"), None);
    }

    #[test]
    fn durations_are_javas() {
        for good in ["pt1s", "p0d", "p1d", "p1dt2h3m4.5s", "pt0.5s"] {
            assert!(is_duration(good), "{good}");
        }
        for bad in ["", "p", "pt", "1d", "p1h", "pt1d", "pt-1s", "p1dt", "pt1m1h", "p1.5d"] {
            assert!(!is_duration(bad), "{bad}");
        }
    }
}
