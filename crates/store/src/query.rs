//! The one text of each query, run on whichever backend the transaction has.

/// Runs a statement; the number of rows it changed.
macro_rules! execute {
    ($tx:expr, $what:expr, $sql:expr $(, $bind:expr)* $(,)?) => {
        match &mut $tx.connection {
            $crate::store::Connection::Sqlite(connection) => sqlx::query($sql)
                $(.bind($bind))*
                .execute(&mut **connection)
                .await
                .map(|done| done.rows_affected()),
            $crate::store::Connection::Postgres(connection) => sqlx::query($sql)
                $(.bind($bind))*
                .execute(&mut **connection)
                .await
                .map(|done| done.rows_affected()),
        }
        .map_err(|source| $crate::StoreError::Query { what: $what, source })
    };
}

/// Runs a query; all its rows as tuples of type `$row`.
macro_rules! fetch {
    ($tx:expr, $what:expr, $row:ty, $sql:expr $(, $bind:expr)* $(,)?) => {
        match &mut $tx.connection {
            $crate::store::Connection::Sqlite(connection) => sqlx::query_as::<_, $row>($sql)
                $(.bind($bind))*
                .fetch_all(&mut **connection)
                .await,
            $crate::store::Connection::Postgres(connection) => sqlx::query_as::<_, $row>($sql)
                $(.bind($bind))*
                .fetch_all(&mut **connection)
                .await,
        }
        .map_err(|source| $crate::StoreError::Query { what: $what, source })
    };
}

/// The JSON document of a row.
pub(crate) fn document(
    what: &'static str,
    key: &str,
    text: &str,
) -> Result<serde_json::Value, crate::StoreError> {
    serde_json::from_str(text).map_err(|source| crate::StoreError::Document {
        what,
        key: key.to_owned(),
        source,
    })
}
