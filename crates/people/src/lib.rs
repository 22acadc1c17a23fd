//! Identities, roles, keys and approvals: maker never checker, each decision signed by its person.
