//! The machine.
#![no_std]
#![allow(unsafe_code)]
