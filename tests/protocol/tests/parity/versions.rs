//! ApiVersions, and what becomes of requests that nobody serves.

use dohle_tests_protocol::connection::head;
use dohle_tests_protocol::run::Run;
use dohle_wire::messages::api_versions_request::ApiVersionsRequest;

pub fn script(run: &mut Run) {
    asked(run, "broker");
    run.at_controller();
    asked(run, "controller");
    run.end("api_versions");
    refused(run);
    run.end("refused");
}

fn asked(run: &mut Run, listener: &str) {
    let named = |name: &str, version: &str| ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..Default::default()
    };
    run.ask_in_all(&format!("{listener}, valid"), &named("parity", "1.0"));
    for (name, version) in [
        ("", "1"),
        ("a", ""),
        ("-a", "1"),
        ("a-", "1"),
        ("a b", "1"),
        ("a.b-c", "1.2-3"),
        ("ä", "1"),
        ("a_b", "1"),
        ("A9", "v.1"),
        (".", "1"),
    ] {
        run.ask(&format!("{listener}, software '{name}' '{version}'"), 3, &named(name, version));
    }
    run.reconnect();
    for version in [5, 6, 99, i16::MAX, -1] {
        let mut frame = head(18, version, 1);
        frame.extend([0, 2, b'x', 2, b'y', 0]);
        run.ask_raw(&format!("{listener}, of the future v{version}"), &frame);
    }
}

fn refused(run: &mut Run) {
    run.at_broker();
    let versions: &[(i16, i16)] = &[
        (0, 2),
        (0, 14),
        (0, -1),
        (1, 3),
        (1, 19),
        (2, 0),
        (2, 12),
        (3, -1),
        (3, 14),
        (19, 1),
        (19, 8),
        (20, 0),
        (20, 7),
        (21, 3),
        (22, 7),
        (23, 1),
        (23, 5),
        (32, 0),
        (32, 5),
        (33, 3),
        (35, 0),
        (35, 5),
        (37, 4),
        (44, 2),
        (55, 3),
        (57, 3),
        (60, 3),
        (71, 1),
        (72, 1),
        (74, 2),
        (75, 1),
        (8, 1),
        (8, 11),
        (9, 0),
        (9, 11),
        (10, 7),
        (11, 10),
        (12, 5),
        (13, 6),
        (14, 6),
        (15, 7),
        (16, 6),
        (42, 3),
        (47, 1),
        (68, 2),
        (69, 2),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
        (52, 0),
        (53, 0),
        (54, 0),
        (56, 0),
        (59, 0),
        (62, 0),
        (63, 0),
        (67, 0),
        (70, 0),
        (73, 0),
        (82, 0),
        (93, 0),
        (1000, 0),
        (-1, 0),
        (i16::MAX, 0),
    ];
    for (key, version) in versions {
        run.ask_raw(&format!("key {key} v{version}"), &head(*key, *version, 1));
    }
    run.ask_raw("an empty frame", &[]);
    run.ask_raw("a frame of three bytes", &[0, 3, 0]);
    run.ask_raw("no body", &head(3, 1, 1)[..8]);
    run.ask_raw("a body cut short", &{
        let mut frame = head(3, 1, 1);
        frame.extend([0, 0, 0, 5]);
        frame
    });
    run.ask_raw("a client id of length -2", &[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xfe]);
    run.ask_raw("a null client id", &[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0]);
    run.ask_raw("bytes after the body", &{
        let mut frame = head(3, 1, 1);
        frame.extend([0, 0, 0, 0, 1, 2, 3]);
        frame
    });
    run.at_controller();
    for (key, version) in
        [(0, 3), (2, 1), (3, 12), (18, 0), (1, 4), (10, 0), (42, 0), (62, 0), (60, 0), (75, 0), (32, 1)]
    {
        run.ask_raw(&format!("controller, key {key} v{version}"), &head(key, version, 1));
    }
    run.at_broker();
}
