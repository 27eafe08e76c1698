//! The ICE-lite side of one session (RFC 8445, 2.5): whose checks are answered, with which password, over restarts.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::demux::Ignored;
use super::stun::{BindingRequest, IcePassword};

/// The two ends of an ICE session: checks must name both (RFC 8445, 7.2.2) and be made with our password.
#[derive(Clone)]
pub(crate) struct Credentials {
    ufrag: String,
    remote_ufrag: String,
    password: IcePassword,
}

impl Credentials {
    /// Our ufrag and password, and the peer's ufrag.
    pub(crate) fn new(ufrag: &str, pwd: &str, remote_ufrag: &str) -> Self {
        Self {
            ufrag: ufrag.to_owned(),
            remote_ufrag: remote_ufrag.to_owned(),
            password: IcePassword::new(pwd),
        }
    }

    fn names(&self, request: &BindingRequest<'_>) -> bool {
        request.local_ufrag() == self.ufrag && request.remote_ufrag() == self.remote_ufrag
    }
}

/// Checks that are remembered: a browser's of some minutes.
const RECENT: usize = 32;

/// The lite agent of one session.
pub(crate) struct IceLite {
    current: Credentials,
    /// Those from before an ICE restart, until the first check with the new ones.
    former: Option<Credentials>,
    /// The last checks that were authentic, and where each came from: the oldest first.
    recent: VecDeque<([u8; 12], SocketAddr)>,
}

/// What became of an authentic check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// To be sent back to where the check came from.
    pub(crate) answer: Vec<u8>,
    pub(crate) verdict: Verdict,
}

/// What an authentic check means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The pair works. `nominated`: the peer chose it. `restarted`: the first check of a restarted session.
    Works { nominated: bool, restarted: bool },
    /// The peer takes itself for the controlled side; it will check again in the other role.
    Conflict,
}

impl IceLite {
    pub(crate) const fn new(credentials: Credentials) -> Self {
        Self { current: credentials, former: None, recent: VecDeque::new() }
    }

    /// Begins an ICE restart: checks with the new credentials count from now on, the former ones until then.
    pub(crate) fn restart(&mut self, credentials: Credentials) {
        self.former = Some(std::mem::replace(&mut self.current, credentials));
    }

    /// Takes a STUN message that came from `from`. Strangers get no answer.
    pub(crate) fn check(&mut self, bytes: &[u8], from: SocketAddr) -> Result<Checked, Ignored> {
        let request = BindingRequest::parse(bytes).ok_or(Ignored::BadStun)?;
        let is_current = self.current.names(&request);
        let credentials = if is_current { Some(&self.current) } else { self.former.as_ref() };
        let credentials = credentials.filter(|c| c.names(&request)).ok_or(Ignored::UnknownUfrag)?;
        let password = &credentials.password;
        if !request.is_authentic(password) {
            return Err(Ignored::BadIntegrity);
        }
        remember(&mut self.recent, request.transaction(), from)?;
        if request.claims_controlled() {
            return Ok(Checked { answer: request.role_conflict(password), verdict: Verdict::Conflict });
        }
        let answer = request.success(from, password);
        let restarted = is_current && self.former.take().is_some();
        Ok(Checked { answer, verdict: Verdict::Works { nominated: request.nominates(), restarted } })
    }
}

/// A check may come again from where it came from (RFC 8489, 6.2.1), and from nowhere else: who has seen it on its way could lead the media
/// to themselves, or to somebody who never asked for it.
fn remember(
    recent: &mut VecDeque<([u8; 12], SocketAddr)>,
    transaction: [u8; 12],
    from: SocketAddr,
) -> Result<(), Ignored> {
    if let Some((_, first)) = recent.iter().find(|(known, _)| *known == transaction) {
        return if *first == from { Ok(()) } else { Err(Ignored::Replayed) };
    }
    if recent.len() >= RECENT {
        recent.pop_front();
    }
    recent.push_back((transaction, from));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::stun::tests::check;
    use super::*;

    fn give(ice: &mut IceLite, bytes: &[u8]) -> Result<Verdict, Ignored> {
        let checked = ice.check(bytes, "192.0.2.1:1000".parse().unwrap())?;
        assert!(checked.answer.len() > 20);
        Ok(checked.verdict)
    }

    #[test]
    fn only_who_names_both_ends_and_knows_the_password_is_answered() {
        let mut ice = IceLite::new(Credentials::new("u", "p", "x"));
        assert_eq!(give(&mut ice, &check("u:x", "wrong", false, false)), Err(Ignored::BadIntegrity));
        assert_eq!(give(&mut ice, &check("v:x", "p", false, false)), Err(Ignored::UnknownUfrag));
        assert_eq!(give(&mut ice, &check("u:y", "p", false, false)), Err(Ignored::UnknownUfrag));
        assert_eq!(give(&mut ice, &[0; 20]), Err(Ignored::BadStun));
        let works = |nominated| Ok(Verdict::Works { nominated, restarted: false });
        assert_eq!(give(&mut ice, &check("u:x", "p", false, false)), works(false));
        assert_eq!(give(&mut ice, &check("u:x", "p", true, false)), works(true));
        assert_eq!(give(&mut ice, &check("u:x", "p", false, true)), Ok(Verdict::Conflict));
    }

    #[test]
    fn a_check_that_was_seen_on_its_way_leads_nothing_elsewhere() {
        let mut ice = IceLite::new(Credentials::new("u", "p", "x"));
        let genuine = check("u:x", "p", true, false);
        let from = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        assert!(ice.check(&genuine, from(1)).is_ok());
        assert!(ice.check(&genuine, from(1)).is_ok(), "its answer was lost");
        assert_eq!(ice.check(&genuine, from(2)), Err(Ignored::Replayed));
        assert!(
            ice.check(&check("u:x", "p", true, false), from(2)).is_ok(),
            "a viewer that moves makes a new one"
        );
        for _ in 0..1_000 {
            let _ = ice.check(&check("u:x", "p", true, false), from(3));
        }
        assert_eq!(ice.recent.len(), RECENT);
    }

    #[test]
    fn a_restart_takes_effect_with_its_first_check() {
        let mut ice = IceLite::new(Credentials::new("u", "p", "x"));
        ice.restart(Credentials::new("new", "q", "y"));
        let works = |restarted| Ok(Verdict::Works { nominated: false, restarted });
        assert_eq!(
            give(&mut ice, &check("u:x", "p", false, false)),
            works(false),
            "media flows on meanwhile"
        );
        assert_eq!(give(&mut ice, &check("new:x", "q", false, false)), Err(Ignored::UnknownUfrag));
        assert_eq!(give(&mut ice, &check("new:y", "q", false, true)), Ok(Verdict::Conflict));
        assert_eq!(give(&mut ice, &check("new:y", "q", false, false)), works(true));
        assert_eq!(give(&mut ice, &check("new:y", "q", false, false)), works(false));
        assert_eq!(give(&mut ice, &check("u:x", "p", false, false)), Err(Ignored::UnknownUfrag));
    }
}
