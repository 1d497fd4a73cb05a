//! Files: the FUSE client to the root's services, the name cache, path walking, open files, and what the shim has of its
//! own (`/dev`, `/proc`, pipes, the console).

pub mod asynchronous;
pub mod busy;
pub mod dentry;
pub mod dev;
pub mod epoll;
pub mod event;
pub mod file;
pub mod fuse;
pub mod inode;
pub mod inotify;
pub mod locks;
pub mod mqueue;
pub mod pidfd;
pub mod pipe;
pub mod proc;
mod proc_mounts;
mod proc_system;
mod proc_text;
pub mod records;
pub mod special;
pub mod table;
pub mod terminal;
pub mod timer;
pub mod walk;
