//! Waves that respect dependencies: non-core first, then the core.
