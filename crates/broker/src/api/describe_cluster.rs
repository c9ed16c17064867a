//! DescribeCluster: the brokers, or on request the controllers, of the cluster.

use dohle_metadata::{Image, MetadataVersion};
use dohle_types::{ErrorCode, NodeId};
use dohle_wire::Text;
use dohle_wire::messages::DescribeClusterRequest;
use dohle_wire::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};

use crate::api::{metadata, operations};
use crate::request::Context;

/// `EndpointType` of the request and the response.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub async fn handle(context: Context, request: DescribeClusterRequest) -> DescribeClusterResponse {
    let served = if context.peer.session.door.controller { CONTROLLERS } else { BROKERS };
    let image = context.core.image();
    if served == CONTROLLERS && !registers_controllers(&image) {
        let message = "Direct-to-controller communication is not supported with the current MetadataVersion.";
        return refused(ErrorCode::UnsupportedVersion, message.to_owned());
    }
    if request.endpoint_type != served {
        return mismatch(context.version, request.endpoint_type, served);
    }
    let cluster_authorized_operations = if request.include_cluster_authorized_operations {
        operations::ON_CLUSTER
    } else {
        operations::NOT_ASKED
    };
    let (brokers, controller_id) = if served == CONTROLLERS {
        let leader = context.core.controller().status().leader.unwrap_or(NodeId::NONE);
        (controllers(&context), leader)
    } else {
        (brokers(&context, request.include_fenced_brokers), metadata::some_broker(&image, &context))
    };
    DescribeClusterResponse {
        endpoint_type: served,
        cluster_id: Text::from(context.core.shared().cluster_id.as_str()),
        controller_id: controller_id.get(),
        brokers,
        cluster_authorized_operations,
        ..Default::default()
    }
}

fn mismatch(version: i16, asked: i8, served: i8) -> DescribeClusterResponse {
    let (code, message) = if matches!(asked, BROKERS | CONTROLLERS) {
        let name = if served == BROKERS { "BROKER" } else { "CONTROLLER" };
        let asked = if asked == BROKERS { "BROKER" } else { "CONTROLLER" };
        let message = format!(
            "The request was sent to an endpoint of type {name}, but we wanted an endpoint of type {asked}"
        );
        // Version 0 knows nothing of types.
        let code = if version == 0 { ErrorCode::InvalidRequest } else { ErrorCode::MismatchedEndpointType };
        (code, message)
    } else {
        (ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {asked}"))
    };
    refused(code, message)
}

fn refused(code: ErrorCode, message: String) -> DescribeClusterResponse {
    DescribeClusterResponse {
        error_code: code.code(),
        error_message: Some(Text::from(message)),
        ..Default::default()
    }
}

/// Before, the metadata does not say where controllers are.
fn registers_controllers(image: &Image) -> bool {
    image.features.metadata_version().is_some_and(MetadataVersion::controller_registration_supported)
}

fn brokers(context: &Context, fenced_too: bool) -> Vec<DescribeClusterBroker> {
    let image = context.core.image();
    let listener = &context.peer.session.door.name;
    let wanted = image.brokers.iter().filter(|broker| fenced_too || !broker.fenced);
    let described = wanted.filter_map(|broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(DescribeClusterBroker {
            broker_id: broker.id.get(),
            host: endpoint.host.clone(),
            port: endpoint.port.into(),
            rack: broker.rack.clone(),
            is_fenced: broker.fenced,
            ..Default::default()
        })
    });
    described.collect()
}

fn controllers(context: &Context) -> Vec<DescribeClusterBroker> {
    let image = context.core.image();
    let listener = &context.peer.session.door.name;
    let described = image.controllers.values().filter_map(|node| {
        let endpoint = node.endpoints.iter().find(|endpoint| endpoint.name == *listener)?;
        Some(DescribeClusterBroker {
            broker_id: node.id.get(),
            host: endpoint.host.clone(),
            port: endpoint.port.into(),
            ..Default::default()
        })
    });
    described.collect()
}
