//! One sandbox, as seen from the root.
#![no_std]
#![forbid(unsafe_code)]
