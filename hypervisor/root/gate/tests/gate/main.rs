//! The gate from outside: faults in, actions and lines of the trace out.

mod judge;
mod support;
mod trace;
