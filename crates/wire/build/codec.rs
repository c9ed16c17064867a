//! What reads and writes a struct. One function each way, straight down the fields, with the versions as plain tests.

use std::fmt::Write as _;

use crate::schema::{Kind, Message, Type, Versions, snake};
use crate::structs::{Column, Struct, condition};

pub fn of(s: &Struct<'_>, all: &[Struct<'_>]) -> String {
    let (read, write) = (read(s, all), write(s));
    let mut out = format!("impl Part for {} {{\n", s.name);
    let flexible = |body: &str| match condition(s.flexible, s.versions) {
        Some(test) if body.contains("flexible") => format!("let flexible = {test};\n"),
        _ => String::new(),
    };
    let read = flexible(&read) + &read;
    let write = flexible(&write) + &write;
    let _ = writeln!(out, "fn read(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{\n{read}}}");
    let _ = writeln!(
        out,
        "fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\n{write}Ok(())\n}}\n}}"
    );
    out
}

/// What ties a message's top struct to the traits.
pub fn message(message: &Message) -> String {
    let Message { name, versions, .. } = message;
    let mut out = format!(
        "impl Message for {name} {{\nconst MIN_VERSION: i16 = {};\nconst MAX_VERSION: i16 = {};\n}}\n",
        versions.low, versions.high
    );
    if message.kind == Kind::Request {
        let api = name.strip_suffix("Request").expect("a request is called one");
        let response = snake(&format!("{api}Response"));
        let _ = writeln!(
            out,
            "impl Request for {name} {{\nconst KEY: ApiKey = ApiKey::{api};\ntype Response = super::{response}::{api}Response;\n}}"
        );
    }
    out
}

/// `flexible` as an expression for a field.
fn compact(column: &Column<'_>) -> &'static str {
    match condition(column.compact, column.versions) {
        _ if column.compact.is_empty() => "false",
        None => "true",
        Some(_) => "flexible",
    }
}

fn read(s: &Struct<'_>, all: &[Struct<'_>]) -> String {
    let mut out = String::new();
    let mut tagged = String::new();
    for column in &s.fields {
        // A field may be called as a parameter is.
        let name = format!("f_{}", column.name);
        let value = read_value(column, all);
        if let Some(tag) = column.field.tag {
            let _ = writeln!(out, "let mut {name} = {};", column.default_value());
            let _ = match condition(column.versions, s.versions) {
                None => writeln!(tagged, "{tag} => {name} = {value},"),
                Some(test) => writeln!(
                    tagged,
                    "{tag} if {test} => {name} = {value},\n{tag} => return Err(DecodeError::TagNotInVersion {{ tag: {tag} }}),"
                ),
            };
            continue;
        }
        let _ = match condition(column.versions, s.versions) {
            None => writeln!(out, "let {name} = {value};"),
            Some(test) => {
                writeln!(out, "let {name} = if {test} {{ {value} }} else {{ {} }};", column.default_value())
            }
        };
    }
    if !s.flexible.is_empty() {
        let reading = format!(
            "let mut tags = r.tags()?;\n\
             while let Some(tag) = tags.next(r)? {{\n\
             match tag.number {{\n{tagged}_ => unknown_tagged_fields.read(r, &tag)?,\n}}\n\
             tag.finish(r)?;\n}}\n"
        );
        out += "let mut unknown_tagged_fields = UnknownTags::default();\n";
        match condition(s.flexible, s.versions) {
            None => out += &reading,
            Some(_) => {
                let _ = writeln!(out, "if flexible {{\n{reading}}}");
            }
        }
    }
    let names: Vec<_> = s.fields.iter().map(|column| format!("{0}: f_{0}", column.name)).collect();
    let unknown = if s.flexible.is_empty() { "" } else { "unknown_tagged_fields" };
    let comma = if names.is_empty() || unknown.is_empty() { "" } else { ", " };
    let _ = writeln!(out, "Ok(Self {{ {}{comma}{unknown} }})", names.join(", "));
    out
}

fn read_value(column: &Column<'_>, all: &[Struct<'_>]) -> String {
    let flexible = compact(column);
    let call = |nullable: bool| {
        let n = if nullable { "nullable_" } else { "" };
        match &column.field.ty {
            Type::String => format!("r.{n}string({flexible})?"),
            Type::Bytes => format!("r.{n}bytes({flexible})?"),
            Type::Records => format!("r.{n}records({flexible})?"),
            Type::Array(element) => match &**element {
                Type::Struct(name) => {
                    format!("r.{n}parts({flexible}, {}, version)?", min_size(name, column, all))
                }
                _ => format!("r.{n}list({flexible})?"),
            },
            Type::Struct(_) if nullable => {
                let presence = if column.field.tag.is_some() { "tagged_presence" } else { "presence" };
                format!("if r.{presence}()? {{ Some(Part::read(r, version)?) }} else {{ None }}")
            }
            Type::Struct(_) => "Part::read(r, version)?".to_owned(),
            scalar => format!("r.{}()?", scalar_method(scalar)),
        }
    };
    match condition(column.nullable, column.versions) {
        _ if !column.is_option() => call(false),
        None => call(true),
        Some(test) => format!("if {test} {{ {} }} else {{ Some({}) }}", call(true), call(false)),
    }
}

fn write(s: &Struct<'_>) -> String {
    let mut out = String::new();
    for column in &s.fields {
        let refuse = (!column.field.ignorable).then(|| {
            let name = &column.field.name;
            format!(
                "if !({}) {{ return Err(EncodeError::FieldNotInVersion {{ field: {name:?}, version }}); }}",
                column.is_default()
            )
        });
        let value = if column.field.tag.is_some() { String::new() } else { write_value(column) };
        let _ = match (condition(column.versions, s.versions), refuse) {
            (None, _) => writeln!(out, "{value}"),
            (Some(test), None) => writeln!(out, "if {test} {{ {value} }}"),
            (Some(test), Some(refuse)) => writeln!(out, "if {test} {{ {value} }} else {{ {refuse} }}"),
        };
    }
    if s.flexible.is_empty() {
        return out;
    }
    let tags = write_tags(s);
    let _ = match condition(s.flexible, s.versions) {
        None => writeln!(out, "{tags}"),
        Some(_) => {
            writeln!(out, "if flexible {{\n{tags}}} else {{ self.unknown_tagged_fields.forbid(version)?; }}")
        }
    };
    out
}

fn write_tags(s: &Struct<'_>) -> String {
    let mut tagged: Vec<_> = s.fields.iter().filter(|column| column.field.tag.is_some()).collect();
    tagged.sort_by_key(|column| column.field.tag);
    if tagged.is_empty() {
        return "self.unknown_tagged_fields.write(w);\n".to_owned();
    }
    let mut out = String::new();
    let mut count = "self.unknown_tagged_fields.len() as u32".to_owned();
    for column in &tagged {
        let present = format!("!({})", column.is_default());
        // A field that a flexible version lacks was refused or is dropped.
        let test = match condition(column.versions, s.flexible) {
            Some(test) => format!("{test} && {present}"),
            None => present,
        };
        let tag = column.field.tag.unwrap_or_default();
        let _ = writeln!(out, "let has_{tag} = {test};");
        let _ = write!(count, " + u32::from(has_{tag})");
    }
    let _ = writeln!(out, "w.uvarint({count});\nlet mut next = 0;");
    for column in &tagged {
        let tag = column.field.tag.unwrap_or_default();
        let _ = writeln!(
            out,
            "if has_{tag} {{\nnext = self.unknown_tagged_fields.write_below(w, next, {tag})?;\n\
             let start = w.begin_tag({tag});\n{}\nw.end_tag(start);\n}}",
            write_value(column)
        );
    }
    out += "self.unknown_tagged_fields.write_from(w, next);\n";
    out
}

fn write_value(column: &Column<'_>) -> String {
    let flexible = compact(column);
    let name = &column.name;
    let call = |nullable: bool, value: &str| {
        let n = if nullable { "nullable_" } else { "" };
        match &column.field.ty {
            Type::String => format!("w.{n}string({flexible}, {value})?;"),
            Type::Bytes => format!("w.{n}bytes({flexible}, {value})?;"),
            Type::Records => format!("w.{n}records({flexible}, {value})?;"),
            Type::Array(element) => match &**element {
                Type::Struct(_) => format!("w.{n}parts({flexible}, {value}, version)?;"),
                _ => format!("w.{n}list({flexible}, {value})?;"),
            },
            Type::Struct(_) if nullable => {
                let presence = if column.field.tag.is_some() { "tagged_presence" } else { "presence" };
                format!(
                    "w.{presence}(self.{name}.is_some());\nif let Some(part) = &self.{name} {{ part.write(w, version)?; }}"
                )
            }
            Type::Struct(_) => format!("({value}).write(w, version)?;"),
            Type::Int16 if name.ends_with("error_code") => format!("w.error_code(self.{name});"),
            scalar => format!("w.{}(self.{name});", scalar_method(scalar)),
        }
    };
    let option = format!("self.{name}.as_ref()");
    let required = format!("required(&self.{name}, {:?})?", column.field.name);
    match condition(column.nullable, column.versions) {
        _ if !column.is_option() => call(false, &format!("&self.{name}")),
        None => call(true, &option),
        Some(test) => {
            format!("if {test} {{ {} }} else {{ {} }}", call(true, &option), call(false, &required))
        }
    }
}

fn scalar_method(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "bool",
        Type::Int8 => "i8",
        Type::Int16 => "i16",
        Type::Uint16 => "u16",
        Type::Int32 => "i32",
        Type::Uint32 => "u32",
        Type::Int64 => "i64",
        Type::Float64 => "f64",
        Type::Uuid => "uuid",
        _ => unreachable!("not a scalar"),
    }
}

/// The fewest bytes that struct `name` takes, as an expression of the versions of `column`.
fn min_size(name: &str, column: &Column<'_>, all: &[Struct<'_>]) -> String {
    let mut runs: Vec<(i16, usize)> = Vec::new();
    for version in column.versions.iter() {
        let size = struct_min(name, version, all);
        assert!(size > 0, "{name}: takes no bytes at version {version}");
        match runs.last_mut() {
            Some((last, same)) if *same == size => *last = version,
            _ => runs.push((version, size)),
        }
    }
    let Some(((_, open), closed)) = runs.split_last() else { unreachable!("a column has versions") };
    if closed.is_empty() {
        return open.to_string();
    }
    let arms: String = closed.iter().map(|(last, size)| format!("..={last} => {size}, ")).collect();
    format!("match version {{ {arms}_ => {open} }}")
}

fn struct_min(name: &str, version: i16, all: &[Struct<'_>]) -> usize {
    let s = all.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no struct {name}"));
    let at = |versions: Versions| versions.contains(version);
    let fields = s.fields.iter().filter(|c| at(c.versions) && c.field.tag.is_none());
    let sizes = fields.map(|c| match &c.field.ty {
        Type::Bool | Type::Int8 => 1,
        Type::Int16 | Type::Uint16 => 2,
        Type::Int32 | Type::Uint32 => 4,
        Type::Int64 | Type::Float64 => 8,
        Type::Uuid => 16,
        Type::String if at(c.compact) => 1,
        Type::String => 2,
        Type::Bytes | Type::Records | Type::Array(_) if at(c.compact) => 1,
        Type::Bytes | Type::Records | Type::Array(_) => 4,
        Type::Struct(_) if at(c.nullable) => 1,
        Type::Struct(inner) => struct_min(inner, version, all),
    });
    sizes.sum::<usize>() + usize::from(at(s.flexible))
}
