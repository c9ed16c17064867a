//! What two coordinators must have in common when one has read what the other has written.

use super::{Group, GroupCoordinator};

impl GroupCoordinator {
    /// Whether both remember the same, whatever is under way at either. Tells the first difference.
    pub fn remembers_like(&self, other: &Self) -> Result<(), String> {
        for id in self.groups.keys().chain(other.groups.keys()) {
            let (one, two) = (remembered(self.groups.get(id)), remembered(other.groups.get(id)));
            let same = match (one, two) {
                (None, None) => true,
                (Some(Group::Classic(one)), Some(Group::Classic(two))) => one.stored() == two.stored(),
                (Some(Group::Consumer(one)), Some(Group::Consumer(two))) => one == two,
                _ => false,
            };
            if !same {
                return Err(format!("group {id} is {one:#?} here, and {two:#?} there"));
            }
        }
        self.offsets.remembers_like(&other.offsets)
    }
}

/// A classic group of which there is no record is gone with its coordinator.
fn remembered(group: Option<&Group>) -> Option<&Group> {
    group.filter(|group| match group {
        Group::Classic(group) => group.stored().is_some(),
        Group::Consumer(_) => true,
    })
}
