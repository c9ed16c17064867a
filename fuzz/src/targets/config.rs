//! Properties files.

use dohle_config::parse_properties;

use crate::chance::Chance;

pub fn properties(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(pairs) = parse_properties(&text) {
        assert!(pairs.len() <= text.len() + 1, "a pair takes at least a character");
    }
}

pub fn properties_sample(chance: &mut Chance) -> Vec<u8> {
    const PIECES: [&str; 16] = [
        "log.dirs",
        "=",
        ":",
        " ",
        "\\",
        "\n",
        "\r\n",
        "\\\n",
        "#",
        "!",
        "\\u0041",
        "\\u12",
        "ä",
        "\t",
        "listeners=A://:1\n",
        "\\\\",
    ];
    let count = chance.below(60);
    (0..count).flat_map(|_| chance.pick(&PIECES).bytes()).collect()
}
