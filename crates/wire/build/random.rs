//! Random values of every struct and the catalog of all messages, for tests and fuzzing (feature `arbitrary`).

use std::fmt::Write as _;

use crate::schema::{File, Type, snake};
use crate::structs::{Column, Struct, condition};

pub fn of(s: &Struct<'_>, module: &str) -> String {
    let mut body = String::new();
    for column in &s.fields {
        let mut value = random(column, module);
        if column.field.tag.is_some() {
            value = format!("if coin(c) {{ {value} }} else {{ {} }}", default_value(column, module));
        }
        if let Some(test) = condition(column.versions, s.versions) {
            value = format!("if {test} {{ {value} }} else {{ {} }}", default_value(column, module));
        }
        let _ = writeln!(body, "{}: {value},", column.name);
    }
    if !s.flexible.is_empty() {
        let value = match condition(s.flexible, s.versions) {
            None => "unknown_tags(c)".to_owned(),
            Some(test) => format!("if {test} {{ unknown_tags(c) }} else {{ Default::default() }}"),
        };
        let _ = writeln!(body, "unknown_tagged_fields: {value},");
    }
    format!(
        "impl Arbitrary for messages::{module}::{} {{\nfn random(c: Chance<'_>, version: i16) -> Self {{\nSelf {{\n{body}}}\n}}\n}}\n",
        s.name
    )
}

fn default_value(column: &Column<'_>, module: &str) -> String {
    let value = column.default_value();
    match &column.field.ty {
        Type::Struct(name) => value.replace(name.as_str(), &format!("messages::{module}::{name}")),
        _ => value,
    }
}

fn random(column: &Column<'_>, module: &str) -> String {
    let value = random_of(&column.field.ty, module);
    match condition(column.nullable, column.versions) {
        _ if !column.is_option() => value,
        None => format!("if one_in_four(c) {{ None }} else {{ Some({value}) }}"),
        Some(test) => format!("if {test} && one_in_four(c) {{ None }} else {{ Some({value}) }}"),
    }
}

fn random_of(ty: &Type, module: &str) -> String {
    match ty {
        Type::Bool => "coin(c)".to_owned(),
        Type::Int8 => "number(c) as i8".to_owned(),
        Type::Int16 => "number(c) as i16".to_owned(),
        Type::Uint16 => "number(c) as u16".to_owned(),
        Type::Int32 => "number(c) as i32".to_owned(),
        Type::Uint32 => "number(c) as u32".to_owned(),
        Type::Int64 => "number(c)".to_owned(),
        Type::Float64 => "float(c)".to_owned(),
        Type::Uuid => "uuid(c)".to_owned(),
        Type::String => "text(c)".to_owned(),
        Type::Bytes => "bytes(c)".to_owned(),
        Type::Records => "records(c)".to_owned(),
        Type::Struct(name) => format!("messages::{module}::{name}::random(c, version)"),
        Type::Array(element) => format!("(0..few(c)).map(|_| {}).collect()", random_of(element, module)),
    }
}

pub fn catalog(files: &[File]) -> String {
    let mut out = "/// Every message.\npub const CATALOG: &[Entry] = &[\n".to_owned();
    for message in files.iter().flat_map(|file| &file.messages) {
        let flexible = message.flexible.intersect(message.versions);
        let since = if flexible.is_empty() { "None".to_owned() } else { format!("Some({})", flexible.low) };
        let (module, name) = (snake(&message.name), &message.name);
        let _ = writeln!(out, "Entry::of::<messages::{module}::{name}>({name:?}, {since}),");
    }
    out + "];\n"
}
