//! What belongs together: the members of each group, in their order, by counting.

use std::ops::Range;

/// Members by group. Its memory is used again.
#[derive(Debug, Default)]
pub struct Groups {
    /// Group after group.
    members: Vec<u32>,
    /// Where each group begins, and where the last ends.
    begins: Vec<u32>,
}

impl Groups {
    /// Of members whose groups are named, each one of `count`; who names no group is left out.
    pub fn sort(&mut self, names: &[u32], count: usize) {
        let Self { members, begins } = self;
        let is_group = |name: u32| (name as usize) < count;
        begins.clear();
        begins.resize(count + 2, 0);
        // Two places on: members move the place before to where its group ends, which is where the next begins.
        for name in names.iter().filter(|name| is_group(**name)) {
            begins[*name as usize + 2] += 1;
        }
        for group in 2..count + 2 {
            begins[group] += begins[group - 1];
        }
        members.clear();
        members.resize(begins[count + 1] as usize, 0);
        for (member, name) in (0..).zip(names).filter(|(_, name)| is_group(**name)) {
            let place = &mut begins[*name as usize + 1];
            members[*place as usize] = member;
            *place += 1;
        }
        begins.pop();
    }

    /// All members.
    pub fn members(&self) -> &[u32] {
        &self.members
    }

    /// Where those of a group are.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn range(&self, group: usize) -> Range<usize> {
        self.begins[group] as usize..self.begins[group + 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Groups;

    proptest! {
        #[test]
        fn members_are_with_their_groups_in_order(names in prop::collection::vec(0_u32..12, 0..60), count in 0_usize..14) {
            let mut groups = Groups::default();
            // What was there before is forgotten.
            groups.sort(&[1, 0, 3], 5);
            groups.sort(&names, count);
            let mut found = 0;
            for group in 0..count {
                let right: Vec<u32> = (0..).zip(&names).filter(|(_, name)| **name as usize == group).map(|(i, _)| i).collect();
                prop_assert_eq!(&groups.members()[groups.range(group)], &right);
                found += right.len();
            }
            prop_assert_eq!(groups.members().len(), found);
        }
    }
}
