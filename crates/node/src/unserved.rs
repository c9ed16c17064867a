//! What a configuration may ask for that this version does not do. Leaving it out silently could open a door that was meant to be
//! shut, so it stops the start.

use dohle_config::{Config, SecurityProtocol};

use crate::exit::{Failure, Reason};

pub fn check(config: &Config) -> Result<(), Failure> {
    let refuse = |sentence: String| Err(Failure::new(Reason::Unserved, sentence));
    if let Some(listener) =
        config.listeners().iter().find(|listener| listener.protocol != SecurityProtocol::Plaintext)
    {
        return refuse(format!(
            "listeners has {listener} with {}, but this version only serves PLAINTEXT",
            listener.protocol.name()
        ));
    }
    if let Some(authorizer) = config.text("authorizer.class.name").filter(|class| !class.is_empty()) {
        return refuse(format!(
            "authorizer.class.name is set to \"{authorizer}\", but this version does not authorize requests"
        ));
    }
    if config.boolean("remote.log.storage.system.enable") {
        return refuse(
            "remote.log.storage.system.enable is true, but this version has no tiered storage".to_owned(),
        );
    }
    Ok(())
}
