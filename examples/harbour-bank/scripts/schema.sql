-- The core ledger of Harbour Bank: the tables of TPC-B, with one addition. `history.transfer_id`
-- is chosen by the business system that asks for the transfer, so that after a move every
-- acknowledged transfer can be looked for by its own name.
CREATE TABLE branches (
    id      bigint PRIMARY KEY,
    balance bigint NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE tellers (
    id        bigint PRIMARY KEY,
    branch_id bigint NOT NULL REFERENCES branches,
    balance   bigint NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE accounts (
    id        bigint PRIMARY KEY,
    branch_id bigint NOT NULL REFERENCES branches,
    balance   bigint NOT NULL,
    remark    text NOT NULL
);

CREATE TABLE history (
    transfer_id bigint PRIMARY KEY,
    account_id  bigint NOT NULL,
    teller_id   bigint NOT NULL,
    branch_id   bigint NOT NULL,
    amount      bigint NOT NULL,
    posted_at   timestamptz NOT NULL DEFAULT now()
);
