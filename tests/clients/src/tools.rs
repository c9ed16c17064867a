//! Kafka's own command-line tools, many invocations in one JVM (`java/tools/ToolDriver.java`).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::client::jvm;
use crate::install;
use crate::process::{Conversation, Process};

/// Above the driver's own limit for a tool, which is the one that should be met first.
const TOOL_LIMIT: Duration = Duration::from_secs(90);

/// The tools by the names that scripts use.
const CLASSES: [(&str, &str); 30] = [
    ("TopicCommand", "org.apache.kafka.tools.TopicCommand"),
    ("ConfigCommand", "kafka.admin.ConfigCommand"),
    ("ProducerPerformance", "org.apache.kafka.tools.ProducerPerformance"),
    ("GetOffsetShell", "org.apache.kafka.tools.GetOffsetShell"),
    ("DeleteRecordsCommand", "org.apache.kafka.tools.DeleteRecordsCommand"),
    ("LogDirsCommand", "org.apache.kafka.tools.LogDirsCommand"),
    ("ClusterTool", "org.apache.kafka.tools.ClusterTool"),
    ("MetadataQuorumCommand", "org.apache.kafka.tools.MetadataQuorumCommand"),
    ("BrokerApiVersionsCommand", "org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ("FeatureCommand", "org.apache.kafka.tools.FeatureCommand"),
    ("ConsoleProducer", "org.apache.kafka.tools.ConsoleProducer"),
    ("ConsoleConsumer", "org.apache.kafka.tools.consumer.ConsoleConsumer"),
    ("DumpLogSegments", "org.apache.kafka.tools.DumpLogSegments"),
    ("ConsumerGroupCommand", "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    ("ShareGroupCommand", "org.apache.kafka.tools.consumer.group.ShareGroupCommand"),
    ("StreamsGroupCommand", "org.apache.kafka.tools.streams.StreamsGroupCommand"),
    ("GroupsCommand", "org.apache.kafka.tools.GroupsCommand"),
    ("ConsumerPerformance", "org.apache.kafka.tools.ConsumerPerformance"),
    ("ShareConsumerPerformance", "org.apache.kafka.tools.ShareConsumerPerformance"),
    ("ConsoleShareConsumer", "org.apache.kafka.tools.consumer.ConsoleShareConsumer"),
    ("EndToEndLatency", "org.apache.kafka.tools.EndToEndLatency"),
    ("ClientMetricsCommand", "org.apache.kafka.tools.ClientMetricsCommand"),
    ("ReassignPartitionsCommand", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"),
    ("LeaderElectionCommand", "org.apache.kafka.tools.LeaderElectionCommand"),
    ("ReplicaVerificationTool", "org.apache.kafka.tools.ReplicaVerificationTool"),
    ("AclCommand", "org.apache.kafka.tools.AclCommand"),
    ("DelegationTokenCommand", "org.apache.kafka.tools.DelegationTokenCommand"),
    ("TransactionsCommand", "org.apache.kafka.tools.TransactionsCommand"),
    ("StreamsResetter", "org.apache.kafka.tools.StreamsResetter"),
    ("VerifiableConsumer", "org.apache.kafka.tools.VerifiableConsumer"),
];

#[derive(Debug)]
pub struct Tools {
    conversation: Conversation,
}

/// What a tool left behind, as it printed it.
#[derive(Debug)]
pub struct Printed {
    pub exit: i32,
    pub out: String,
    pub err: String,
}

impl Tools {
    pub fn start(folder: &Path) -> Tools {
        let mut java: Command = jvm("-Xmx256m");
        java.arg("-cp").arg(install::classes(&["tools"], &install::jars("kafka"))).arg("ToolDriver");
        Tools { conversation: Process::converse("the tool driver", &mut java, &folder.join("tools.log")) }
    }

    /// Runs a tool: `words` are its name in scripts and its arguments.
    pub fn run(&mut self, words: &[String], stdin: &str) -> Printed {
        let (name, arguments) = words.split_first().expect("a command has a tool");
        let class = CLASSES.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no tool {name}")).1;
        let question: Vec<String> =
            [stdin, class].into_iter().chain(arguments.iter().map(String::as_str)).map(base64).collect();
        let answer = self.conversation.ask(&question.join(" "), TOOL_LIMIT);
        let mut parts = answer.split(' ');
        let mut next = || parts.next().unwrap_or_default();
        let exit = next().parse().unwrap_or_else(|e| panic!("'{answer}' has no exit code: {e}"));
        Printed { exit, out: from_base64(next()), err: from_base64(next()) }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(text: &str) -> String {
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |b, &c| b << 8 | u32::from(c)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let symbol = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= chunk.len() { symbol } else { '=' });
        }
    }
    out
}

fn from_base64(text: &str) -> String {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for symbol in text.bytes().filter(|&b| b != b'=') {
        let value = ALPHABET.iter().position(|&a| a == symbol).expect("the driver answers in base64");
        bits = bits << 6 | value as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_there_and_back() {
        for text in ["", "a", "ab", "abc", "größe\n"] {
            assert_eq!(from_base64(&base64(text)), text);
        }
        assert_eq!(base64("ab"), "YWI=");
    }
}
