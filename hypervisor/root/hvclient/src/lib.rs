//! Hypervisor client.
#![no_std]
#![allow(unsafe_code)]
