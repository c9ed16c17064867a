//! Consumer groups without a broker: scripts with what they print, and members that do what chance says.
//!
//! After every event a second coordinator replays what the first has recorded; both must be the same.

mod actor;
mod assignment;
mod chance;
mod large;
mod print;
mod rig;
mod script;
