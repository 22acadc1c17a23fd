-- The same text runs on SQLite and PostgreSQL: TEXT and BIGINT only, no dialect.

CREATE TABLE sources (
    name TEXT NOT NULL,
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    document TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (name, path)
);

CREATE TABLE plans (
    sequence BIGINT NOT NULL PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    at_us BIGINT NOT NULL
);

CREATE TABLE people (
    id TEXT NOT NULL PRIMARY KEY,
    document TEXT NOT NULL,
    at_us BIGINT NOT NULL
);

CREATE TABLE approvals (
    id TEXT NOT NULL PRIMARY KEY,
    about TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_digest TEXT NOT NULL,
    person TEXT NOT NULL,
    document TEXT NOT NULL,
    at_us BIGINT NOT NULL
);
CREATE INDEX approvals_about ON approvals (about, at_us);

CREATE TABLE moves (
    id TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    digest TEXT NOT NULL,
    document TEXT NOT NULL,
    at_us BIGINT NOT NULL
);

CREATE TABLE steps (
    move_id TEXT NOT NULL REFERENCES moves (id),
    step_id TEXT NOT NULL,
    state TEXT NOT NULL,
    document TEXT NOT NULL,
    at_us BIGINT NOT NULL,
    PRIMARY KEY (move_id, step_id)
);

CREATE TABLE volume_cursors (
    node TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL
);

CREATE TABLE verdicts (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    gate TEXT NOT NULL,
    opened BIGINT NOT NULL,
    input_digest TEXT NOT NULL,
    policy_digest TEXT NOT NULL,
    input TEXT NOT NULL,
    policy TEXT NOT NULL,
    verdict TEXT NOT NULL,
    at_us BIGINT NOT NULL
);
CREATE INDEX verdicts_subject ON verdicts (subject, at_us);

-- Evidence on its way to the ledger. Once there, `ledger_index` says where, and the row stays as
-- the index by subject; what is read as evidence comes from the ledger.
CREATE TABLE outbox (
    sequence BIGINT NOT NULL PRIMARY KEY,
    record_id TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL,
    kind TEXT NOT NULL,
    record TEXT NOT NULL,
    ledger_index BIGINT
);
CREATE INDEX outbox_subject ON outbox (subject, sequence);
CREATE INDEX outbox_ledger_index ON outbox (ledger_index);
