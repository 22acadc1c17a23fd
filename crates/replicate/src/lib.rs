//! The driver around replicate-core: event loop, image, NBD face, peer link, control socket.
