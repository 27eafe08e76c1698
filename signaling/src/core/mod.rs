//! The pure part: what is known of a feed in, what the API says out.

pub mod admission;
pub(crate) mod ended;
pub mod policy;
pub(crate) mod refusals;
pub(crate) mod roster;
pub(crate) mod settings;
pub(crate) mod timeline;
pub(crate) mod view;
pub(crate) mod viewers;
pub(crate) mod warnings;
