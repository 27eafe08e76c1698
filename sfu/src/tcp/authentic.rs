//! Which TCP connections a session has authenticated.

use crate::port::ConnectionId;

/// Connections of one session. A browser opens one for each pair of candidates.
const MAX_CONNECTIONS: usize = 8;

/// A session's connections over which an authentic check came, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Authentic(Vec<ConnectionId>);

impl Authentic {
    /// Whether an authentic check came over this one.
    pub(crate) fn contains(&self, id: ConnectionId) -> bool {
        self.0.contains(&id)
    }

    /// Notes a connection. Gives the one that has to make room: the oldest that is not `in_use`.
    pub(crate) fn add(&mut self, id: ConnectionId, in_use: Option<ConnectionId>) -> Option<ConnectionId> {
        if self.contains(id) {
            return None;
        }
        self.0.push(id);
        if self.0.len() <= MAX_CONNECTIONS {
            return None;
        }
        let oldest = self.0.iter().position(|other| Some(*other) != in_use)?;
        Some(self.0.remove(oldest))
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ConnectionId) {
        self.0.retain(|other| *other != id);
    }

    /// Gives all of them up.
    pub(crate) fn take(&mut self) -> Vec<ConnectionId> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Port;

    #[test]
    fn the_oldest_makes_room_but_never_the_one_in_use() {
        let port = Port::new(Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let ids: Vec<ConnectionId> = (0..20).map(|_| port.name_connection()).collect();
        let mut authentic = Authentic::default();
        let gone: Vec<_> = ids.iter().filter_map(|id| authentic.add(*id, Some(ids[0]))).collect();
        assert_eq!(gone, ids[1..13]);
        assert_eq!(authentic.add(ids[0], None), None, "known");
        authentic.remove(ids[0]);
        assert!(!authentic.contains(ids[0]) && authentic.contains(ids[19]));
        assert_eq!(authentic.take(), ids[13..]);
    }
}
