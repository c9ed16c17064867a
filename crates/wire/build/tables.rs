//! The closed sets: the APIs with their requests and responses, and the records of the internal topics.

use std::fmt::Write as _;

use crate::schema::{File, Kind, Message};

pub fn apis(files: &[File]) -> String {
    let mut apis: Vec<_> = files.iter().filter_map(|file| Some((file.api.as_ref()?, file))).collect();
    apis.sort_by_key(|(api, _)| api.key);
    let (mut variants, mut codes, mut all, mut infos) =
        (String::new(), String::new(), String::new(), String::new());
    for (api, file) in &apis {
        let request = file.messages.iter().find(|m| m.kind == Kind::Request).expect("an API has a request");
        let response =
            file.messages.iter().find(|m| m.kind == Kind::Response).expect("an API has a response");
        assert_eq!(
            (&request.name, &response.name),
            (&format!("{}Request", api.name), &format!("{}Response", api.name))
        );
        assert_eq!(request.versions, response.versions, "{}", api.name);
        let on = |listener: &str| api.listeners.iter().any(|name| name == listener);
        let flexible = request.flexible.intersect(request.versions);
        let flexible =
            if flexible.is_empty() { "None".to_owned() } else { format!("Some({})", flexible.low) };
        let name = &api.name;
        let _ = writeln!(variants, "{name} = {},", api.key);
        let _ = writeln!(codes, "{} => Some(Self::{name}),", api.key);
        let _ = writeln!(all, "Self::{name},");
        let _ = writeln!(
            infos,
            "Self::{name} => &ApiInfo {{ name: {name:?}, min: {}, max: {}, flexible_since: {flexible}, on_broker: {}, \
             on_controller: {}, forwardable: {}, cluster_action: {}, latest_unstable: {} }},",
            request.versions.low,
            request.versions.high,
            on("broker"),
            on("controller"),
            api.forwardable,
            api.cluster_action,
            api.latest_unstable,
        );
    }
    let mut out = format!(
        "/// An API of the protocol.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]\n#[repr(i16)]\n\
         pub enum ApiKey {{\n{variants}}}\n\
         impl ApiKey {{\n/// Every API, in the order of the keys.\npub const ALL: &'static [Self] = &[\n{all}];\n\
         /// The API of a key read from the wire.\npub const fn from_code(code: i16) -> Option<Self> {{\nmatch code {{\n{codes}_ => None,\n}}\n}}\n\
         const fn info(self) -> &'static ApiInfo {{\nmatch self {{\n{infos}}}\n}}\n}}\n"
    );
    let names: Vec<&str> = apis.iter().map(|(api, _)| api.name.as_str()).collect();
    out += &any("AnyRequest", "Request", "A request of any API.", &names);
    out += &any("AnyResponse", "Response", "A response of any API.", &names);
    out
}

fn any(name: &str, suffix: &str, doc: &str, apis: &[&str]) -> String {
    let arms = |arm: &dyn Fn(&str) -> String| apis.iter().map(|api| arm(api)).collect::<String>();
    let variants = arms(&|api| format!("{api}(messages::{api}{suffix}),\n"));
    let keys = arms(&|api| format!("Self::{api}(_) => ApiKey::{api},\n"));
    let decode = arms(&|api| format!("ApiKey::{api} => Self::{api}(Message::decode(r, version)?),\n"));
    let encode = arms(&|api| format!("Self::{api}(message) => message.encode(w, version),\n"));
    let from = arms(&|api| {
        format!(
            "impl From<messages::{api}{suffix}> for {name} {{ fn from(message: messages::{api}{suffix}) -> Self {{ Self::{api}(message) }} }}\n"
        )
    });
    format!(
        "/// {doc}\n#[derive(Clone, Debug, PartialEq)]\n#[allow(clippy::large_enum_variant)]\npub enum {name} {{\n{variants}}}\n\
         impl {name} {{\n\
         pub fn key(&self) -> ApiKey {{\nmatch self {{\n{keys}}}\n}}\n\
         pub fn decode(key: ApiKey, version: i16, r: &mut Reader) -> Result<Self, DecodeError> {{\nOk(match key {{\n{decode}}})\n}}\n\
         pub fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\nmatch self {{\n{encode}}}\n}}\n}}\n{from}"
    )
}

pub fn logs(files: &[File]) -> String {
    let mut out = String::new();
    for file in files {
        let Some((topic, name)) = &file.log else { continue };
        let of = |pick: &dyn Fn(Kind) -> Option<i16>| {
            file.messages.iter().filter_map(|m| Some((pick(m.kind)?, m))).collect::<Vec<_>>()
        };
        let records = of(&|kind| if let Kind::Record(id) = kind { Some(id) } else { None });
        let keys = of(&|kind| if let Kind::Key(id) = kind { Some(id) } else { None });
        let values = of(&|kind| if let Kind::Value(id) = kind { Some(id) } else { None });
        if !records.is_empty() {
            out +=
                &log_enum(&format!("{name}Record"), "Record", &format!("A record of `{topic}`."), &records);
        }
        if !keys.is_empty() {
            out +=
                &log_enum(&format!("{name}Key"), "Key", &format!("The key of a record of `{topic}`."), &keys);
            out += &log_enum(
                &format!("{name}Value"),
                "Value",
                &format!("The value of a record of `{topic}`."),
                &values,
            );
        }
    }
    out
}

fn log_enum(name: &str, suffix: &str, doc: &str, messages: &[(i16, &Message)]) -> String {
    let arms = |arm: &dyn Fn(i16, &str, &Message) -> String| {
        let of = |(id, m): &(i16, &Message)| arm(*id, m.name.strip_suffix(suffix).unwrap_or(&m.name), m);
        messages.iter().map(of).collect::<String>()
    };
    let variants = arms(&|_, variant, m| format!("{variant}(messages::{}),\n", m.name));
    let ids = arms(&|id, variant, _| format!("Self::{variant}(_) => {id},\n"));
    let lows = arms(&|_, variant, m| format!("Self::{variant}(_) => {},\n", m.versions.low));
    let highs = arms(&|_, variant, m| format!("Self::{variant}(_) => {},\n", m.versions.high));
    let read = arms(&|id, variant, _| format!("{id} => Self::{variant}(Message::decode(r, version)?),\n"));
    let write = arms(&|_, variant, _| format!("Self::{variant}(message) => message.encode(w, version),\n"));
    let from = arms(&|_, variant, m| {
        format!(
            "impl From<messages::{0}> for {name} {{ fn from(message: messages::{0}) -> Self {{ Self::{variant}(message) }} }}\n",
            m.name
        )
    });
    format!(
        "/// {doc}\n#[derive(Clone, Debug, PartialEq)]\n#[allow(clippy::large_enum_variant)]\npub enum {name} {{\n{variants}}}\n\
         impl {name} {{\n\
         /// The number of the type in the log.\npub const fn type_id(&self) -> i16 {{\nmatch self {{\n{ids}}}\n}}\n\
         /// The lowest version of this type.\npub const fn min_version(&self) -> i16 {{\nmatch self {{\n{lows}}}\n}}\n\
         /// The highest version of this type.\npub const fn max_version(&self) -> i16 {{\nmatch self {{\n{highs}}}\n}}\n\
         fn read(type_id: i16, r: &mut Reader, version: i16) -> Result<Self, DecodeError> {{\nOk(match type_id {{\n{read}\
         _ => return Err(DecodeError::UnknownType {{ code: i32::from(type_id) }}),\n}})\n}}\n\
         fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {{\nmatch self {{\n{write}}}\n}}\n}}\n{from}"
    )
}
