//! The answer of each API to a request that fails as a whole.

use dohle_wire::messages::*;
use dohle_wire::{AnyRequest, AnyResponse, ApiKey, Text};

use super::error::ApiError;

/// Whether [`refusal`] knows how the API says no; the controller is asked about no other.
pub(super) fn is_known(key: ApiKey) -> bool {
    use ApiKey as K;
    matches!(
        key,
        K::AllocateProducerIds
            | K::AlterClientQuotas
            | K::AlterConfigs
            | K::AlterPartition
            | K::AlterPartitionReassignments
            | K::AlterUserScramCredentials
            | K::AssignReplicasToDirs
            | K::BrokerHeartbeat
            | K::BrokerRegistration
            | K::ControllerRegistration
            | K::CreateAcls
            | K::CreateDelegationToken
            | K::CreatePartitions
            | K::CreateTopics
            | K::DeleteAcls
            | K::DeleteTopics
            | K::ElectLeaders
            | K::ExpireDelegationToken
            | K::IncrementalAlterConfigs
            | K::ListPartitionReassignments
            | K::RenewDelegationToken
            | K::UnregisterBroker
            | K::UpdateFeatures
    )
}

pub(super) fn refusal(request: &AnyRequest, version: i16, error: &ApiError) -> AnyResponse {
    use AnyRequest as R;
    let error_code = error.code.code();
    let error_message = error.message.clone();
    match request {
        R::AllocateProducerIds(_) => AllocateProducerIdsResponse { error_code, ..Default::default() }.into(),
        R::AlterPartition(_) => AlterPartitionResponse { error_code, ..Default::default() }.into(),
        R::AssignReplicasToDirs(_) => {
            AssignReplicasToDirsResponse { error_code, ..Default::default() }.into()
        }
        R::BrokerHeartbeat(_) => BrokerHeartbeatResponse { error_code, ..Default::default() }.into(),
        R::BrokerRegistration(_) => BrokerRegistrationResponse { error_code, ..Default::default() }.into(),
        R::CreateDelegationToken(_) => {
            CreateDelegationTokenResponse { error_code, ..Default::default() }.into()
        }
        R::RenewDelegationToken(_) => {
            RenewDelegationTokenResponse { error_code, ..Default::default() }.into()
        }
        R::ExpireDelegationToken(_) => {
            ExpireDelegationTokenResponse { error_code, ..Default::default() }.into()
        }
        R::ControllerRegistration(_) => {
            ControllerRegistrationResponse { error_code, error_message, ..Default::default() }.into()
        }
        R::UnregisterBroker(_) => {
            UnregisterBrokerResponse { error_code, error_message, ..Default::default() }.into()
        }
        R::UpdateFeatures(_) => {
            UpdateFeaturesResponse { error_code, error_message, ..Default::default() }.into()
        }
        R::ListPartitionReassignments(_) => {
            ListPartitionReassignmentsResponse { error_code, error_message, ..Default::default() }.into()
        }
        R::CreateTopics(request) => create_topics(request, error_code, &error_message).into(),
        R::DeleteTopics(request) => delete_topics(request, version, error_code).into(),
        R::CreatePartitions(request) => create_partitions(request, error_code, &error_message).into(),
        R::AlterConfigs(request) => alter_configs(request, error_code, &error_message).into(),
        R::IncrementalAlterConfigs(request) => {
            incremental_alter_configs(request, error_code, &error_message).into()
        }
        R::ElectLeaders(request) => elect_leaders(request, error_code, &error_message).into(),
        R::AlterPartitionReassignments(request) => reassignments(request, error_code, &error_message).into(),
        R::AlterClientQuotas(request) => quotas(request, error_code, &error_message).into(),
        R::AlterUserScramCredentials(request) => scram(request, error_code, &error_message).into(),
        R::CreateAcls(request) => create_acls(request, error_code, &error_message).into(),
        R::DeleteAcls(request) => delete_acls(request, error_code, &error_message).into(),
        other => unreachable!("{} is answered without the controller", other.key().name()),
    }
}

fn create_topics(
    request: &CreateTopicsRequest,
    error_code: i16,
    message: &Option<Text>,
) -> CreateTopicsResponse {
    let topics = request.topics.iter().map(|topic| create_topics_response::CreatableTopicResult {
        name: topic.name.clone(),
        error_code,
        error_message: message.clone(),
        configs: Some(Vec::new()),
        ..Default::default()
    });
    CreateTopicsResponse { topics: topics.collect(), ..Default::default() }
}

fn delete_topics(request: &DeleteTopicsRequest, version: i16, error_code: i16) -> DeleteTopicsResponse {
    use delete_topics_response::DeletableTopicResult;
    let responses = if version < 6 {
        let names = request.topic_names.iter();
        names
            .map(|name| DeletableTopicResult { name: Some(name.clone()), error_code, ..Default::default() })
            .collect()
    } else {
        let topics = request.topics.iter().map(|topic| DeletableTopicResult {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            error_code,
            ..Default::default()
        });
        topics.collect()
    };
    DeleteTopicsResponse { responses, ..Default::default() }
}

fn create_partitions(
    request: &CreatePartitionsRequest,
    error_code: i16,
    message: &Option<Text>,
) -> CreatePartitionsResponse {
    let results =
        request.topics.iter().map(|topic| create_partitions_response::CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code,
            error_message: message.clone(),
            ..Default::default()
        });
    CreatePartitionsResponse { results: results.collect(), ..Default::default() }
}

fn alter_configs(
    request: &AlterConfigsRequest,
    error_code: i16,
    message: &Option<Text>,
) -> AlterConfigsResponse {
    let responses =
        request.resources.iter().map(|resource| alter_configs_response::AlterConfigsResourceResponse {
            error_code,
            error_message: message.clone(),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        });
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn incremental_alter_configs(
    request: &IncrementalAlterConfigsRequest,
    error_code: i16,
    message: &Option<Text>,
) -> IncrementalAlterConfigsResponse {
    use incremental_alter_configs_response::AlterConfigsResourceResponse;
    let responses = request.resources.iter().map(|resource| AlterConfigsResourceResponse {
        error_code,
        error_message: message.clone(),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    });
    IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn elect_leaders(
    request: &ElectLeadersRequest,
    error_code: i16,
    message: &Option<Text>,
) -> ElectLeadersResponse {
    use elect_leaders_response::{PartitionResult, ReplicaElectionResult};
    let of_topic = |topic: &elect_leaders_request::TopicPartitions| ReplicaElectionResult {
        topic: topic.topic.clone(),
        partition_result: topic
            .partitions
            .iter()
            .map(|&partition_id| PartitionResult {
                partition_id,
                error_code,
                error_message: message.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let replica_election_results = request.topic_partitions.iter().flatten().map(of_topic).collect();
    ElectLeadersResponse { error_code, replica_election_results, ..Default::default() }
}

fn reassignments(
    request: &AlterPartitionReassignmentsRequest,
    error_code: i16,
    message: &Option<Text>,
) -> AlterPartitionReassignmentsResponse {
    use alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse};
    let responses = request.topics.iter().map(|topic| ReassignableTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code,
                error_message: message.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    AlterPartitionReassignmentsResponse {
        error_code,
        error_message: message.clone(),
        responses: responses.collect(),
        ..Default::default()
    }
}

fn quotas(
    request: &AlterClientQuotasRequest,
    error_code: i16,
    message: &Option<Text>,
) -> AlterClientQuotasResponse {
    use alter_client_quotas_response::{EntityData, EntryData};
    let entries = request.entries.iter().map(|entry| EntryData {
        error_code,
        error_message: message.clone(),
        entity: entry
            .entity
            .iter()
            .map(|part| EntityData {
                entity_type: part.entity_type.clone(),
                entity_name: part.entity_name.clone(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() }
}

fn scram(
    request: &AlterUserScramCredentialsRequest,
    error_code: i16,
    message: &Option<Text>,
) -> AlterUserScramCredentialsResponse {
    use alter_user_scram_credentials_response::AlterUserScramCredentialsResult;
    let deleted = request.deletions.iter().map(|deletion| &deletion.name);
    let upserted = request.upsertions.iter().map(|upsertion| &upsertion.name);
    let users: std::collections::BTreeSet<&Text> = deleted.chain(upserted).collect();
    let results = users.into_iter().map(|user| AlterUserScramCredentialsResult {
        user: user.clone(),
        error_code,
        error_message: message.clone(),
        ..Default::default()
    });
    AlterUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
}

fn create_acls(request: &CreateAclsRequest, error_code: i16, message: &Option<Text>) -> CreateAclsResponse {
    use create_acls_response::AclCreationResult;
    let result = AclCreationResult { error_code, error_message: message.clone(), ..Default::default() };
    CreateAclsResponse { results: vec![result; request.creations.len()], ..Default::default() }
}

fn delete_acls(request: &DeleteAclsRequest, error_code: i16, message: &Option<Text>) -> DeleteAclsResponse {
    use delete_acls_response::DeleteAclsFilterResult;
    let result = DeleteAclsFilterResult { error_code, error_message: message.clone(), ..Default::default() };
    DeleteAclsResponse { filter_results: vec![result; request.filters.len()], ..Default::default() }
}
