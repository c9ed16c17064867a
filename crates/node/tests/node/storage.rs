//! `dohle storage` and `dohle config`, which do not run a node.

use crate::program::{Data, Node, run};

const CLUSTER: &str = "4L6g3nShT-eMCtK--X86sw";

fn file(data: &Data) -> String {
    data.write(
        "server.properties",
        &format!("node.id=3\nlog.dirs={}\nlisteners=PLAINTEXT://127.0.0.1:0\n", data.text()),
    )
}

#[test]
fn random_ids_are_kafkas() {
    let id = run(&["storage", "random-uuid"]).stdout;
    assert_eq!(id.trim().len(), 22, "{id}");
    assert_ne!(id, run(&["storage", "random-uuid"]).stdout);
}

#[test]
fn folders_are_formatted_told_of_and_started_on() {
    let data = Data::new();
    let file = file(&data);
    let info = run(&["storage", "info", "-c", &file]);
    info.expect(1, &["problem"]);
    assert!(
        info.stdout.contains("Found problem:") && info.stdout.contains("does not exist"),
        "{}",
        info.stdout
    );
    let made = run(&["storage", "format", "-t", CLUSTER, "-c", &file]);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(
        made.stdout.contains(&format!(
            "Formatting metadata directory {} with metadata.version 4.3-IV0.",
            data.text()
        ))
    );
    let info = run(&["storage", "info", "--config", &file]);
    assert_eq!(info.code, Some(0));
    assert!(info.stdout.starts_with(&format!(
        "Found log directory:\n  {}\n\nFound metadata: {{cluster.id={CLUSTER}, ",
        data.text()
    )));
    assert!(info.stdout.contains("node.id=3, version=1}"), "{}", info.stdout);
    run(&["storage", "format", "-t", CLUSTER, "-c", &file]).expect(1, &["already formatted"]);
    assert_eq!(run(&["storage", "format", "-g", "-t", CLUSTER, "-c", &file]).code, Some(0));
    run(&["storage", "format", "-g", "-t", "AAAAAAAAAAAAAAAAAAAAAw", "-c", &file]).expect(10, &[CLUSTER]);
    let node = Node::start(&data, &["--config", &file]);
    assert_eq!(node.ready["cluster_id"], CLUSTER);
    assert_eq!(node.stop().code, Some(0));
}

#[test]
fn unstable_levels_are_for_those_who_ask_for_them() {
    let data = Data::new();
    let (file, flags) = (file(&data), ["--release-version", "4.4-IV0", "--feature", "share.version=1"]);
    let format = |file: &str| run(&[&["storage", "format", "-t", CLUSTER, "-c", file], &flags[..]].concat());
    format(&file).expect(3, &["4.4-IV0", "not yet stable"]);
    let unstable =
        std::fs::read_to_string(&file).expect("it was written") + "unstable.feature.versions.enable=true\n";
    let file = data.write("unstable.properties", &unstable);
    let made = format(&file);
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.contains("with metadata.version 4.4-IV0."), "{}", made.stdout);
    assert_eq!(Node::start(&data, &["--config", &file]).stop().code, Some(0));
}

#[test]
fn flags_of_format_are_checked() {
    let data = Data::new();
    let file = file(&data);
    let format = |more: &[&str]| run(&[&["storage", "format", "-t", CLUSTER, "-c", &file], more].concat());
    format(&["--release-version", "2.0"]).expect(3, &["--release-version", "\"2.0\"", "4.3-IV0"]);
    format(&["--feature", "kraft.version=x"]).expect(3, &["kraft.version", "\"x\""]);
    format(&["--feature", "nonsense=1"]).expect(3, &["nonsense"]);
    format(&["--initial-controllers", "1@host"])
        .expect(3, &["--initial-controllers", "id@host:port:directory-id"]);
    format(&["--add-scram", "SCRAM-SHA-1=[name=a,password=b]"]).expect(3, &["--add-scram", "SCRAM-SHA-256"]);
    format(&["--add-scram", "SCRAM-SHA-256=[name=a,password=b]"]).expect(11, &["--add-scram"]);
    assert_eq!(format(&["--standalone", "--no-initial-controllers"]).code, Some(2));
    assert!(!data.path().join("meta.properties").exists());
}

#[test]
fn configuration_is_shown_and_checked() {
    let page = run(&["config"]).stdout;
    assert!(page.contains("| `num.partitions` | int |") && page.contains("`dohle.durability`"));
    let data = Data::new();
    let file = file(&data);
    let checked = run(&["config", "--check", "--config", &file, "--set", "num.partition=2"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(
        checked.stdout.contains("num.partitions is one") && checked.stdout.contains("node 3"),
        "{}",
        checked.stdout
    );
    run(&["config", "--check", "--set", "num.partitions=0"]).expect(3, &["num.partitions"]);
}

#[test]
fn the_version_is_told() {
    assert!(run(&["--version"]).stdout.starts_with("dohle "));
}
