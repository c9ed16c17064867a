//! The tables under `schemas/`: their model and their parser. `docs/formats/schemas.md` tells the grammar.
//!
//! `build.rs` compiles this file too, so it depends on nothing.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;

/// A range of versions; `3+` is open at the end, `none` is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub low: i16,
    pub high: i16,
}

impl Versions {
    pub const NONE: Self = Self { low: 0, high: -1 };

    pub fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::NONE);
        }
        let (low, high) = match (text.strip_suffix('+'), text.split_once('-')) {
            (Some(low), _) => (low.parse().ok()?, i16::MAX),
            (None, Some((low, high))) => (low.parse().ok()?, high.parse().ok()?),
            (None, None) => (text.parse().ok()?, text.parse().ok()?),
        };
        (0 <= low && low <= high).then_some(Self { low, high })
    }

    pub fn is_empty(self) -> bool {
        self.low > self.high
    }

    pub fn contains(self, version: i16) -> bool {
        self.low <= version && version <= self.high
    }

    pub fn intersect(self, other: Self) -> Self {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        if both.is_empty() { Self::NONE } else { both }
    }

    pub fn iter(self) -> RangeInclusive<i16> {
        self.low..=self.high
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            v if v.is_empty() => f.write_str("none"),
            Self { low, high: i16::MAX } => write!(f, "{low}+"),
            Self { low, high } if low == high => write!(f, "{low}"),
            Self { low, high } => write!(f, "{low}-{high}"),
        }
    }
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

impl Type {
    fn parse(text: &str) -> Option<Self> {
        if let Some(element) = text.strip_prefix("[]") {
            return Self::parse(element)
                .filter(|t| !matches!(t, Self::Array(_)))
                .map(|t| Self::Array(Box::new(t)));
        }
        Some(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Self::Struct(name.to_owned()),
            _ => return None,
        })
    }

    /// The name of the struct that this is, or is a list of.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Uint16 => "uint16",
            Self::Int32 => "int32",
            Self::Uint32 => "uint32",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Uuid => "uuid",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Records => "records",
            Self::Struct(name) => name,
            Self::Array(element) => return write!(f, "[]{element}"),
        })
    }
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub ty: Type,
    pub versions: Versions,
    pub nullable: Versions,
    /// The tag, in all the field's versions, of a tagged field.
    pub tag: Option<u32>,
    /// As written; `None` for the type's own default.
    pub default: Option<String>,
    /// Whether a version without the field silently drops its value.
    pub ignorable: bool,
    /// Overrides the message's flexible versions.
    pub flexible: Option<Versions>,
    /// The fields of the struct this field declares.
    pub fields: Vec<Field>,
}

/// A struct that several fields of a message share.
#[derive(Clone, Debug)]
pub struct CommonStruct {
    pub name: String,
    pub versions: Versions,
    pub fields: Vec<Field>,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Header,
    Data,
    /// A record of `__cluster_metadata`, by its type.
    Record(i16),
    /// A key of a coordinator's topic, by its type.
    Key(i16),
    /// A value of a coordinator's topic, by the type of its key.
    Value(i16),
}

#[derive(Clone, Debug)]
pub struct Message {
    pub kind: Kind,
    pub name: String,
    pub versions: Versions,
    pub flexible: Versions,
    pub fields: Vec<Field>,
    pub structs: Vec<CommonStruct>,
}

#[derive(Clone, Debug)]
pub struct Api {
    pub key: i16,
    pub name: String,
    pub listeners: Vec<String>,
    pub forwardable: bool,
    pub cluster_action: bool,
    pub latest_unstable: bool,
}

/// One table file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// For the messages of one API.
    pub api: Option<Api>,
    /// For the records of one internal topic: its name, and the name of our enum of its records.
    pub log: Option<(String, String)>,
    pub messages: Vec<Message>,
}

/// Reads every table of a folder, in the order of the file names.
// Only what builds and checks the platform reads tables, never the platform.
#[allow(clippy::disallowed_methods)]
pub fn read_folder(folder: &Path) -> Result<Vec<File>, String> {
    let listing = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<_> = listing.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "schema"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        parse(&text).map_err(|e| format!("{}:{e}", path.display()))
    };
    paths.iter().map(read).collect()
}

/// Parses one table. An error begins with the number of its line.
pub fn parse(text: &str) -> Result<File, String> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let content = line.trim_start_matches(' ');
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        if indent % 2 != 0 {
            return Err(format!("{}: odd indentation", number + 1));
        }
        lines.push(Line {
            number: number + 1,
            depth: indent / 2,
            words: content.split_whitespace().collect(),
        });
    }
    let mut file = File::default();
    let mut rest = &lines[..];
    while let [line, after @ ..] = rest {
        rest = after;
        match line.words[..] {
            ["api", ..] => file.api = Some(line.api()?),
            ["log", topic, name] => file.log = Some((topic.to_owned(), name.to_owned())),
            _ => file.messages.push(line.message(&mut rest)?),
        }
    }
    Ok(file)
}

struct Line<'a> {
    number: usize,
    depth: usize,
    words: Vec<&'a str>,
}

impl Line<'_> {
    fn error(&self, what: &str) -> String {
        format!("{}: {what}: {}", self.number, self.words.join(" "))
    }

    fn versions(&self, text: &str) -> Result<Versions, String> {
        Versions::parse(text).ok_or_else(|| self.error("bad versions"))
    }

    fn number<T: std::str::FromStr>(&self, text: &str) -> Result<T, String> {
        text.parse().map_err(|_| self.error("bad number"))
    }

    fn api(&self) -> Result<Api, String> {
        let [_, key, name, listeners, flags @ ..] = &self.words[..] else {
            return Err(self.error("an api needs a key, a name and listeners"));
        };
        let mut api = Api {
            key: self.number(key)?,
            name: (*name).to_owned(),
            listeners: listeners.split(',').map(str::to_owned).collect(),
            forwardable: false,
            cluster_action: false,
            latest_unstable: false,
        };
        for flag in flags {
            match *flag {
                "forwardable" => api.forwardable = true,
                "cluster-action" => api.cluster_action = true,
                "latest-unstable" => api.latest_unstable = true,
                _ => return Err(self.error("unknown flag")),
            }
        }
        Ok(api)
    }

    fn message(&self, rest: &mut &[Self]) -> Result<Message, String> {
        let (kind, words) = match self.words[..] {
            ["request", ref words @ ..] => (Kind::Request, words),
            ["response", ref words @ ..] => (Kind::Response, words),
            ["header", ref words @ ..] => (Kind::Header, words),
            ["data", ref words @ ..] => (Kind::Data, words),
            ["record", id, ref words @ ..] => (Kind::Record(self.number(id)?), words),
            ["key", id, ref words @ ..] => (Kind::Key(self.number(id)?), words),
            ["value", id, ref words @ ..] => (Kind::Value(self.number(id)?), words),
            _ => return Err(self.error("unknown kind of message")),
        };
        let [name, versions, "flexible", flexible] = words else {
            return Err(self.error("a message is a name, versions and flexible versions"));
        };
        let (fields, structs) = fields(rest, 1)?;
        Ok(Message {
            kind,
            name: (*name).to_owned(),
            versions: self.versions(versions)?,
            flexible: self.versions(flexible)?,
            fields,
            structs,
        })
    }

    fn field(&self) -> Result<Field, String> {
        let [name, ty, versions, options @ ..] = &self.words[..] else {
            return Err(self.error("a field is a name, a type and versions"));
        };
        let mut field = Field {
            name: (*name).to_owned(),
            ty: Type::parse(ty).ok_or_else(|| self.error("unknown type"))?,
            versions: self.versions(versions)?,
            nullable: Versions::NONE,
            tag: None,
            default: None,
            ignorable: false,
            flexible: None,
            fields: Vec::new(),
        };
        let mut options = options;
        while let [option, after @ ..] = options {
            options = after;
            if *option == "ignorable" {
                field.ignorable = true;
                continue;
            }
            let [value, after @ ..] = options else { return Err(self.error("an option lacks its value")) };
            options = after;
            match *option {
                "null" => field.nullable = self.versions(value)?,
                "tag" => field.tag = Some(self.number(value)?),
                "default" => field.default = Some((*value).to_owned()),
                "flexible" => field.flexible = Some(self.versions(value)?),
                _ => return Err(self.error("unknown option")),
            }
        }
        Ok(field)
    }
}

/// The fields and common structs at `depth` that `rest` begins with.
fn fields(rest: &mut &[Line<'_>], depth: usize) -> Result<(Vec<Field>, Vec<CommonStruct>), String> {
    let (mut found, mut structs) = (Vec::new(), Vec::new());
    while let [line, after @ ..] = *rest {
        if line.depth < depth {
            break;
        }
        if line.depth > depth {
            return Err(line.error("indented too far"));
        }
        *rest = after;
        if let ["struct", name, versions] = line.words[..] {
            if depth != 1 {
                return Err(line.error("a common struct belongs to the message"));
            }
            let (fields, _) = fields(rest, depth + 1)?;
            structs.push(CommonStruct { name: name.to_owned(), versions: line.versions(versions)?, fields });
        } else {
            let mut field = line.field()?;
            (field.fields, _) = fields(rest, depth + 1)?;
            if !field.fields.is_empty() && field.ty.struct_name().is_none() {
                return Err(line.error("only a struct has fields"));
            }
            found.push(field);
        }
    }
    Ok((found, structs))
}

/// Our name of a field, module or constant: Kafka's, in snake case.
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut snake = String::new();
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && previous_lower {
            snake.push('_');
        }
        previous_lower = !c.is_ascii_uppercase();
        snake.push(c.to_ascii_lowercase());
    }
    if matches!(snake.as_str(), "type" | "match" | "ref" | "move" | "in" | "where" | "loop" | "use") {
        snake.push('_');
    }
    snake
}
