//! Persistence of everything mutable: SQLite embedded, PostgreSQL shared.
