//! DeleteTopics: by name, or by id from version 6 on.

use std::collections::{BTreeMap, BTreeSet};

use dohle_types::{ErrorCode, TopicId};
use dohle_wire::Text;
use dohle_wire::messages::RemoveTopicRecord;
use dohle_wire::messages::delete_topics_request::DeleteTopicsRequest;
use dohle_wire::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};

use super::error::{ApiError, Result};
use super::turn::Turn;

/// The topics of a request, the refused ones answered already.
#[derive(Default)]
struct Named<'a> {
    names: BTreeSet<&'a str>,
    ids: BTreeSet<TopicId>,
    duplicate_names: BTreeSet<&'a str>,
    duplicate_ids: BTreeSet<TopicId>,
    results: Vec<DeletableTopicResult>,
}

impl Turn<'_> {
    pub(super) fn delete_topics(&mut self, request: &DeleteTopicsRequest) -> Result<DeleteTopicsResponse> {
        if !self.settings.delete_topics {
            return Err(match self.version {
                ..3 => ApiError::invalid_request("This version does not support topic deletion."),
                _ => ApiError::bare(ErrorCode::TopicDeletionDisabled),
            });
        }
        let mut named = Named::read(request);
        let doomed = self.resolve(&mut named);
        for (id, name) in doomed {
            self.batch.push(RemoveTopicRecord { topic_id: id, ..Default::default() }, 0)?;
            named.results.push(DeletableTopicResult { name: Some(name), topic_id: id, ..Default::default() });
        }
        Ok(DeleteTopicsResponse { responses: named.results, ..Default::default() })
    }

    /// The topics that exist, each once; answers for the others.
    fn resolve(&self, named: &mut Named<'_>) -> BTreeMap<TopicId, Text> {
        let topics = &self.image().topics;
        let mut doomed = BTreeMap::new();
        for id in std::mem::take(&mut named.ids) {
            match topics.by_id(id) {
                Some(topic) => {
                    doomed.insert(id, topic.name.clone());
                }
                None => {
                    let sentence = "This server does not host this topic ID.";
                    named.refuse(None, id, &ApiError::new(ErrorCode::UnknownTopicId, sentence));
                }
            }
        }
        for name in std::mem::take(&mut named.names) {
            let Some(topic) = topics.by_name(name) else {
                let sentence = "This server does not host this topic-partition.";
                named.refuse(Some(name), TopicId::ZERO, &ApiError::unknown_topic(sentence));
                continue;
            };
            let twice = doomed.insert(topic.id, topic.name.clone()).is_some();
            if twice || named.duplicate_ids.contains(&topic.id) {
                named.duplicate_ids.insert(topic.id);
                doomed.remove(&topic.id);
                let sentence = "The provided topic name maps to an ID that was already supplied.";
                named.refuse(Some(name), topic.id, &ApiError::invalid_request(sentence));
            }
        }
        doomed
    }
}

impl<'a> Named<'a> {
    fn read(request: &'a DeleteTopicsRequest) -> Self {
        let mut named = Self::default();
        for name in &request.topic_names {
            named.add_name(name);
        }
        for topic in &request.topics {
            match (&topic.name, topic.topic_id.is_zero()) {
                (None, true) => {
                    let sentence = "Neither topic name nor id were specified.";
                    named.refuse(None, TopicId::ZERO, &ApiError::invalid_request(sentence));
                }
                (None, false) => named.add_id(topic.topic_id),
                (Some(name), true) => named.add_name(name),
                (Some(name), false) => {
                    let sentence = "You may not specify both topic name and topic id.";
                    named.refuse(Some(name), topic.topic_id, &ApiError::invalid_request(sentence));
                }
            }
        }
        for name in named.duplicate_names.clone() {
            named.refuse(Some(name), TopicId::ZERO, &ApiError::invalid_request("Duplicate topic name."));
        }
        for id in named.duplicate_ids.clone() {
            named.refuse(None, id, &ApiError::invalid_request("Duplicate topic id."));
        }
        named
    }

    fn add_name(&mut self, name: &'a str) {
        if self.duplicate_names.contains(name) || !self.names.insert(name) {
            self.duplicate_names.insert(name);
            self.names.remove(name);
        }
    }

    fn add_id(&mut self, id: TopicId) {
        if self.duplicate_ids.contains(&id) || !self.ids.insert(id) {
            self.duplicate_ids.insert(id);
            self.ids.remove(&id);
        }
    }

    fn refuse(&mut self, name: Option<&str>, id: TopicId, error: &ApiError) {
        self.results.push(DeletableTopicResult {
            name: name.map(Text::from),
            topic_id: id,
            error_code: error.code.code(),
            error_message: error.message.clone(),
            ..Default::default()
        });
    }
}
