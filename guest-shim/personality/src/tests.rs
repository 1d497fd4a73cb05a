//! Tests over a scripted machine.
