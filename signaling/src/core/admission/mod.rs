//! For whom the server has room on the realtime path. Pure: who asks, comes and goes and what is used in; slots, the waiting list and
//! offers out.
//!
//! 1. A slot is given where what is used and what the viewer will use together stay within every [`Budget`].
//! 2. Nobody who has a slot loses it for somebody else, whatever changes.
//! 3. Who gets none waits, by priority and then by waiting time, and is told which budget is used up. Nobody is overtaken, also not
//!    where there is room for a smaller one behind.
//! 4. Who waits is offered a slot once there has been room for it for [`Budget::free_for`] without a break. Offers that nobody takes up
//!    go on to the next.

mod budget;
mod ledger;
mod lows;

pub use budget::{Budget, Cost, Shortage, Usage};
pub use ledger::{Answer, Event, Ledger, Occupancy, Request};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
