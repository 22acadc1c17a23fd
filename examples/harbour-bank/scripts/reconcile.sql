-- Business reconciliation of the core ledger. Every transfer posts the same amount to one
-- account, one teller and one branch and writes one line of history, so four sums must agree.
SELECT
    (SELECT coalesce(sum(balance), 0)::bigint FROM accounts) AS accounts_sum,
    (SELECT coalesce(sum(balance), 0)::bigint FROM tellers)  AS tellers_sum,
    (SELECT coalesce(sum(balance), 0)::bigint FROM branches) AS branches_sum,
    (SELECT coalesce(sum(amount), 0)::bigint FROM history)   AS history_sum,
    (SELECT count(*) FROM accounts) AS accounts_count,
    (SELECT count(*) FROM tellers)  AS tellers_count,
    (SELECT count(*) FROM branches) AS branches_count,
    (SELECT count(*) FROM history)  AS history_count;
