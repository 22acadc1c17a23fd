//! Block replication as state machines: no clock, no socket, no disk.
//!
//! A volume has two copies. Each is a [`node::Node`]: it is told what happens (a client asks, the
//! disk answers, a message arrives, time passes) and says what must be done. The driver in
//! `yundu-replicate` carries that out with real disks and sockets; tests carry it out in memory,
//! with crashes between any two effects.
//!
//! - [`node`]: the state machine of a copy, with its promises
//! - [`meta`]: what a copy must remember
//! - [`wire`]: messages between the two sides
//! - [`bitmap`], [`activity`]: which blocks may differ, after a process death and a power loss
//! - [`locks`]: one order for overlapping writes
//! - [`nbd`]: the protocol of the clients

pub mod activity;
pub mod bitmap;
pub mod block;
pub mod locks;
pub mod meta;
pub mod nbd;
pub mod node;
pub mod wire;
