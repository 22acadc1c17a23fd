//! The driver around `yundu-replicate-core`: event loop, image, NBD face, peer link, control
//! socket.

pub mod control;
