//! What is to be told of a server.
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use linux_raw_sys::errno as linux;

/// Most complaints that are kept for the log in the life of a client: the server must not fill it.
const COMPLAINTS_MAX: u32 = 16;

/// What is to be told of the server.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    /// What was not taken yet.
    pub(crate) waiting: Option<String>,
    made: u32,
    /// What is told once.
    told: Vec<&'static str>,
}

impl Complaints {
    pub(crate) fn add(&mut self, what: &dyn fmt::Display) {
        if self.waiting.is_none() && self.made < COMPLAINTS_MAX {
            self.made += 1;
            let last = if self.made == COMPLAINTS_MAX { " (no more is told)" } else { "" };
            self.waiting = Some(format!("{what}{last}"));
        }
    }

    /// What is no news the second time. It may be lost where something else waits; then it is told another time.
    pub(crate) fn add_once(&mut self, what: &'static str) {
        if self.waiting.is_none() && !self.told.contains(&what) {
            self.told.push(what);
            self.add(&what);
        }
    }

    /// Errors of the server's that mean trouble of the host's, whatever was asked.
    pub(crate) fn add_trouble(&mut self, number: u16) {
        match u32::from(number) {
            linux::ENOSPC | linux::EDQUOT => self.add_once("the host's file system is full"),
            linux::EIO => self.add_once("the host's storage fails"),
            _ => {}
        }
    }
}
