//! The HTTP server: everything that is the same for every route.
//!
//! | module | holds |
//! |---|---|
//! | `listen` | binds the addresses |
//! | `server` | accepts and serves connections, and ends them |
//! | `tls` | the certificate, and its reload |
//! | `guard` | drops connections that stall |
//! | `pace` | times answers by what their clients take of them |
//! | `app` | the rooms' routers and the gateway's own, and the layers around them |
//! | `observe` | counts and times requests |
//! | `cors` | lets pages of any origin in |
//! | `health` | `/healthz`, `/readyz`, `/metrics` |
//! | `pages` | the web demo's files, and 404 for everything unknown |

pub(crate) mod app;
mod cors;
mod guard;
pub(crate) mod health;
pub(crate) mod listen;
mod observe;
mod pace;
pub(crate) mod pages;
pub(crate) mod server;
pub(crate) mod tls;
