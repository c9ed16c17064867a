//! The structs of a message: which fields they have in Rust, of which types, with which defaults.

use std::fmt::Write as _;

use crate::schema::{Field, Message, Type, Versions, snake};

/// One Rust struct and what its codec has to know.
pub struct Struct<'a> {
    pub name: &'a str,
    pub versions: Versions,
    pub flexible: Versions,
    /// The fields that exist in some version that is still spoken.
    pub fields: Vec<Column<'a>>,
}

/// A field of a Rust struct, its versions cut down to those of the struct.
pub struct Column<'a> {
    pub field: &'a Field,
    pub name: String,
    pub versions: Versions,
    pub nullable: Versions,
    /// The versions in which its lengths are compact.
    pub compact: Versions,
}

/// The message's own struct and every struct below it.
pub fn of(message: &Message) -> Vec<Struct<'_>> {
    let mut structs = Vec::new();
    add(&mut structs, message, &message.name, message.versions, &message.fields);
    for common in &message.structs {
        add(&mut structs, message, &common.name, common.versions.intersect(message.versions), &common.fields);
    }
    structs
}

fn add<'a>(
    structs: &mut Vec<Struct<'a>>,
    message: &'a Message,
    name: &'a str,
    versions: Versions,
    fields: &'a [Field],
) {
    let flexible = message.flexible.intersect(versions);
    let columns: Vec<Column<'a>> = fields
        .iter()
        .map(|field| {
            let own = field.versions.intersect(versions);
            Column {
                field,
                name: snake(&field.name),
                versions: own,
                nullable: field.nullable.intersect(own),
                compact: field.flexible.unwrap_or(message.flexible).intersect(own),
            }
        })
        .filter(|column| !column.versions.is_empty())
        .collect();
    assert!(
        columns.iter().all(|c| c.field.tag.is_none() || c.versions == c.versions.intersect(flexible)),
        "{}: tagged fields outside of flexible versions",
        message.name
    );
    assert!(
        columns.iter().all(|c| c.field.tag.is_none() || c.field.ty != Type::Records),
        "{}: records in a tagged field",
        message.name
    );
    let nested: Vec<_> = columns.iter().map(|column| (column.field, column.versions)).collect();
    structs.push(Struct { name, versions, flexible, fields: columns });
    for (field, versions) in nested {
        if let (Some(name), false) = (field.ty.struct_name(), field.fields.is_empty()) {
            add(structs, message, name, versions, &field.fields);
        }
    }
}

impl Struct<'_> {
    pub fn declare(&self) -> String {
        let natural = self.fields.iter().all(Column::has_natural_default);
        let mut out =
            format!("#[derive(Clone, Debug, {}PartialEq)]\n", if natural { "Default, " } else { "" });
        let _ = writeln!(out, "pub struct {} {{", self.name);
        for column in &self.fields {
            let _ = writeln!(out, "pub {}: {},", column.name, column.rust_type());
        }
        if !self.flexible.is_empty() {
            out += "pub unknown_tagged_fields: UnknownTags,\n";
        }
        out += "}\n";
        if !natural {
            let _ = writeln!(out, "impl Default for {} {{ fn default() -> Self {{ Self {{", self.name);
            for column in &self.fields {
                let _ = writeln!(out, "{}: {},", column.name, column.default_value());
            }
            if !self.flexible.is_empty() {
                out += "unknown_tagged_fields: UnknownTags::default(),\n";
            }
            out += "} } }\n";
        }
        out
    }
}

impl Column<'_> {
    pub fn is_option(&self) -> bool {
        !self.nullable.is_empty()
    }

    fn rust_type(&self) -> String {
        let ty = rust_type(&self.field.ty);
        if self.is_option() { format!("Option<{ty}>") } else { ty }
    }

    /// Whether the default is null. Records that can be null are null until they are set.
    pub fn defaults_to_null(&self) -> bool {
        self.is_option() && (self.field.default.as_deref() == Some("null") || self.field.ty == Type::Records)
    }

    fn has_natural_default(&self) -> bool {
        match self.field.default.as_deref() {
            _ if self.is_option() => self.defaults_to_null(),
            None | Some("0" | "false" | "null") => true,
            Some(_) => false,
        }
    }

    pub fn default_value(&self) -> String {
        match self.is_option() {
            true if self.defaults_to_null() => "None".to_owned(),
            true => format!("Some({})", self.bare_default()),
            false => self.bare_default(),
        }
    }

    fn bare_default(&self) -> String {
        let given = self.field.default.as_deref().filter(|text| *text != "null");
        match (&self.field.ty, given) {
            (Type::Bool, given) => given.unwrap_or("false").to_owned(),
            (Type::Float64, given) => format!("{}f64", given.unwrap_or("0")),
            (Type::Uuid, None) => "Uuid::ZERO".to_owned(),
            (Type::String, Some(text)) => format!("Text::from_static({text:?})"),
            (Type::String, None) => "Text::new()".to_owned(),
            (Type::Bytes, None) => "Bytes::new()".to_owned(),
            (Type::Records, None) => "RecordBytes::new()".to_owned(),
            (Type::Array(_), None) => "Vec::new()".to_owned(),
            (Type::Struct(name), None) => format!("{name}::default()"),
            (Type::Uuid | Type::Bytes | Type::Records | Type::Array(_) | Type::Struct(_), Some(_)) => {
                panic!("{}: a default of a type that takes none", self.field.name)
            }
            (_, given) => given.unwrap_or("0").to_owned(),
        }
    }

    /// An expression that is true when the field of `self` has its default value.
    pub fn is_default(&self) -> String {
        let name = &self.name;
        if self.defaults_to_null() {
            return format!("self.{name}.is_none()");
        }
        if self.is_option() {
            return match self.field.ty {
                Type::Struct(_) => format!("self.{name}.as_ref().is_some_and(|v| *v == Default::default())"),
                _ => format!("self.{name}.as_ref().is_some_and(|v| v.is_empty())"),
            };
        }
        match &self.field.ty {
            Type::Bool if self.field.default.as_deref() == Some("true") => format!("self.{name}"),
            Type::Bool => format!("!self.{name}"),
            Type::Uuid => format!("self.{name}.is_zero()"),
            Type::String if self.field.default.is_some() => {
                format!("self.{name} == {:?}", self.field.default.as_deref().unwrap_or_default())
            }
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => format!("self.{name}.is_empty()"),
            Type::Struct(_) => format!("self.{name} == Default::default()"),
            _ => format!("self.{name} == {}", self.bare_default()),
        }
    }
}

pub fn rust_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool",
        Type::Int8 => "i8",
        Type::Int16 => "i16",
        Type::Uint16 => "u16",
        Type::Int32 => "i32",
        Type::Uint32 => "u32",
        Type::Int64 => "i64",
        Type::Float64 => "f64",
        Type::Uuid => "Uuid",
        Type::String => "Text",
        Type::Bytes => "Bytes",
        Type::Records => "RecordBytes",
        Type::Struct(name) => name,
        Type::Array(element) => return format!("Vec<{}>", rust_type(element)),
    }
    .to_owned()
}

/// The test that tells, among the versions `within`, the versions `wanted`. `None` when it is always true.
pub fn condition(wanted: Versions, within: Versions) -> Option<String> {
    let from = wanted.low > within.low;
    let to = wanted.high < within.high;
    match (from, to) {
        (false, false) => None,
        _ if wanted.low == wanted.high => Some(format!("version == {}", wanted.low)),
        (true, false) => Some(format!("version >= {}", wanted.low)),
        (false, true) => Some(format!("version <= {}", wanted.high)),
        (true, true) => Some(format!("({}..={}).contains(&version)", wanted.low, wanted.high)),
    }
}
