//! How a controller makes itself known: its listeners and the features it understands, once in the life of a process.

use dohle_metadata::{Image, features};
use dohle_wire::AnyRequest;
use dohle_wire::messages::ControllerRegistrationRequest;
use dohle_wire::messages::controller_registration_request::{Feature, Listener};

use crate::settings::Settings;

pub(crate) const VERSION: i16 = 0;

/// What to register. `None` when the cluster's version keeps no controllers.
pub(crate) fn request(settings: &Settings, image: &Image) -> Option<AnyRequest> {
    let version = image.stable().features.metadata_version()?;
    if !version.controller_registration_supported() {
        return None;
    }
    let listeners = settings.listeners.iter().map(|listener| Listener {
        name: listener.name.as_str().into(),
        host: listener.host.as_str().into(),
        port: listener.port,
        security_protocol: listener.protocol.id(),
        ..Default::default()
    });
    let features =
        features::supported(features::Levels::of(&settings.config)).into_iter().map(|(name, range)| {
            Feature {
                name: name.into(),
                min_supported_version: range.min,
                max_supported_version: range.max,
                ..Default::default()
            }
        });
    let request = ControllerRegistrationRequest {
        controller_id: settings.node_id.get(),
        incarnation_id: settings.incarnation,
        listeners: listeners.collect(),
        features: features.collect(),
        ..Default::default()
    };
    Some(request.into())
}
