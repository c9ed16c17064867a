//! Setting a key of a topic or a broker while it is in use.

use dohle_wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use crate::connection::Connection;

/// What has keys, by its number in the protocol.
#[derive(Clone, Copy)]
pub enum Resource {
    Topic = 2,
    Broker = 4,
}

/// Sets a key; whoever is asked has to agree.
pub fn set(client: &mut Connection, of: Resource, resource: &str, name: &str, value: &str) {
    let config = AlterableConfig { name: name.into(), value: Some(value.into()), ..Default::default() };
    let resource = AlterConfigsResource {
        resource_type: of as i8,
        resource_name: resource.into(),
        configs: vec![config],
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = client.ask(&request, 1).expect("an answer");
    assert_eq!(answer.responses[0].error_code, 0, "{:?}", answer.responses[0].error_message);
}
