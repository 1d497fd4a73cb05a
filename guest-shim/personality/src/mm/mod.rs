//! Memory: frames, page tables, the areas of an address space, and access to a program's memory.
//!
//! The personality never dereferences a user address. It looks the page up in its own tables, brings it in if
//! the program could have touched it, and reads or writes the frame through the direct map.

pub mod area;
pub mod frames;
pub mod object;
pub mod space;
pub mod table;
pub mod user;
pub mod window;
