//! Quotas, ACLs, credentials and tokens: replayed and written to snapshots, so that a folder of Kafka's loses nothing here.

use std::collections::BTreeMap;
use std::sync::Arc;

use dohle_types::Uuid;
use dohle_wire::messages::client_quota_record::{ClientQuotaRecord, EntityData};
use dohle_wire::messages::{AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord};
use dohle_wire::{MetadataRecord, Text};
use imbl::OrdMap;

/// Whom a quota is for: pairs of type (`user`, `client-id`, `ip`) and name, `None` for the default one. Sorted.
pub type QuotaEntity = Vec<(Text, Option<Text>)>;

/// Client quotas by entity and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientQuotas(OrdMap<QuotaEntity, Arc<BTreeMap<Text, f64>>>);

impl ClientQuotas {
    pub fn iter(&self) -> impl Iterator<Item = (&QuotaEntity, &BTreeMap<Text, f64>)> {
        self.0.iter().map(|(entity, quotas)| (entity, &**quotas))
    }

    pub(super) fn set(&mut self, record: &ClientQuotaRecord) {
        let mut entity: QuotaEntity = record
            .entity
            .iter()
            .map(|part| (part.entity_type.detached(), part.entity_name.as_ref().map(Text::detached)))
            .collect();
        entity.sort();
        if !record.remove {
            let quotas = self.0.entry(entity).or_default();
            Arc::make_mut(quotas).insert(record.key.detached(), record.value);
        } else if let Some(quotas) = self.0.get_mut(&entity) {
            let quotas = Arc::make_mut(quotas);
            quotas.remove(&*record.key);
            if quotas.is_empty() {
                self.0.remove(&entity);
            }
        }
    }

    pub(super) fn to_records(&self) -> impl Iterator<Item = ClientQuotaRecord> + '_ {
        self.0.iter().flat_map(|(entity, quotas)| {
            quotas.iter().map(|(key, value)| ClientQuotaRecord {
                entity: entity
                    .iter()
                    .map(|(kind, name)| EntityData {
                        entity_type: kind.clone(),
                        entity_name: name.clone(),
                        ..Default::default()
                    })
                    .collect(),
                key: key.clone(),
                value: *value,
                ..Default::default()
            })
        })
    }
}

/// ACLs, SCRAM credentials and delegation tokens, as their records say them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Security {
    pub acls: OrdMap<Uuid, Arc<AccessControlEntryRecord>>,
    /// By mechanism and user.
    pub scram: OrdMap<(i8, Text), Arc<UserScramCredentialRecord>>,
    /// By token id.
    pub tokens: OrdMap<Text, Arc<DelegationTokenRecord>>,
}

impl Security {
    pub(super) fn set(&mut self, record: &MetadataRecord) {
        use MetadataRecord as R;
        match record {
            R::AccessControlEntry(acl) => {
                self.acls.insert(acl.id, Arc::new(acl.clone()));
            }
            R::RemoveAccessControlEntry(removed) => {
                self.acls.remove(&removed.id);
            }
            R::UserScramCredential(credential) => {
                self.scram
                    .insert((credential.mechanism, credential.name.detached()), Arc::new(credential.clone()));
            }
            R::RemoveUserScramCredential(removed) => {
                self.scram.remove(&(removed.mechanism, removed.name.clone()));
            }
            R::DelegationToken(token) => {
                self.tokens.insert(token.token_id.detached(), Arc::new(token.clone()));
            }
            R::RemoveDelegationToken(removed) => {
                self.tokens.remove(&*removed.token_id);
            }
            other => unreachable!("record type {} is none of security's", other.type_id()),
        }
    }
}
