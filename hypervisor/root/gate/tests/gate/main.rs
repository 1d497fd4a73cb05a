//! The gate from outside: faults in, actions and lines of the trace out.

mod addresses;
mod ask;
mod budgets;
mod contents;
mod judge;
mod memory;
mod structures;
mod support;
mod tainting_calls;
mod taints;
mod trace;
