//! What is found out from texts, addresses and datagrams: pure.

pub(crate) mod address;
pub(crate) mod check;
pub(crate) mod judge;
pub(crate) mod kernel;
pub(crate) mod outcome;
pub(crate) mod render;
pub(crate) mod report;
pub(crate) mod route;
pub(crate) mod sdp;
