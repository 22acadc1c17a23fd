//! Block replication as state machines: no clock, no socket, no disk.
