//! Generates the messages' structs and codecs from the tables under `schemas/`. Depends on nothing, takes milliseconds.

#[path = "build/codec.rs"]
mod codec;
#[path = "build/random.rs"]
mod random;
#[path = "src/schema.rs"]
#[allow(dead_code)]
mod schema;
#[path = "build/structs.rs"]
mod structs;
#[path = "build/tables.rs"]
mod tables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let folder = root.join("../../schemas");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/schema.rs");
    let files = schema::read_folder(&folder).unwrap_or_else(|error| panic!("{error}"));

    let (mut messages, mut names, mut arbitrary) = (String::new(), String::new(), String::new());
    for message in files.iter().flat_map(|file| &file.messages) {
        let module = schema::snake(&message.name);
        let definitions = structs::of(message);
        let _ = writeln!(messages, "pub mod {module} {{\nuse super::prelude::*;");
        for definition in &definitions {
            messages += &definition.declare();
            messages += &codec::of(definition, &definitions);
            arbitrary += &random::of(definition, &module);
        }
        messages += &codec::message(message);
        messages += "}\n";
        let _ = writeln!(names, "pub use {module}::{};", message.name);
    }
    arbitrary += &random::catalog(&files);

    save("messages.rs", &(names + &messages));
    save("arbitrary.rs", &arbitrary);
    save("apis.rs", &tables::apis(&files));
    save("logs.rs", &tables::logs(&files));
}

fn save(name: &str, text: &str) {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("set by cargo"));
    write(&folder.join(name), text);
}

// A build script has no other door to the disk.
#[allow(clippy::disallowed_methods)]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
