//! Addresses in configuration values. Only host, port and scheme are kept: user names, passwords,
//! paths and everything else in the value are dropped on the spot.

use crate::model::Mention;

/// Most characters of one value that are searched.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Endings of keys whose value is an address even when it is only a name.
const ADDRESS_KEYS: [&str; 12] = [
    "HOST", "HOSTS", "HOSTNAME", "ADDR", "ADDRESS", "URL", "URI", "ENDPOINT", "SERVER", "SERVERS",
    "SERVICE", "BROKERS",
];

/// Every address in the value of `key`, each once.
pub(crate) fn mentions(key: &str, value: &str) -> Vec<Mention> {
    if value.len() > VALUE_BYTES_MAX {
        return Vec::new();
    }
    let is_separator =
        |character: char| character.is_whitespace() || ",;\"'<>()[]{}|=".contains(character);
    let is_address = is_address_key(key);
    let mut found: Vec<Mention> = Vec::new();
    for token in value.split(is_separator).filter(|token| !token.is_empty()) {
        let Some((scheme, host, port)) = address(token, is_address) else {
            continue;
        };
        let mention = Mention {
            key: key.to_owned(),
            host,
            port,
            scheme,
        };
        if !found.contains(&mention) {
            found.push(mention);
        }
    }
    found
}

fn is_address_key(key: &str) -> bool {
    let upper = key.to_uppercase().replace(['.', '-'], "_");
    ADDRESS_KEYS
        .iter()
        .any(|ending| upper == *ending || upper.ends_with(&format!("_{ending}")))
}

/// `SCHEME://[USER@]HOST[:PORT]…`, `jdbc:oracle:thin:@HOST:PORT…`, `HOST:PORT`, and `HOST` alone
/// where the key says that it is an address.
fn address(token: &str, is_address: bool) -> Option<(Option<String>, String, Option<u16>)> {
    let (scheme, rest) = match token.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None if token.starts_with("jdbc:") => {
            let (scheme, rest) = token.split_once('@')?;
            (
                Some(scheme.trim_end_matches(':')),
                rest.trim_start_matches('/'),
            )
        }
        None => (None, token),
    };
    let scheme_is_plain = |scheme: &str| {
        !scheme.is_empty()
            && scheme.len() <= 40
            && scheme
                .chars()
                .all(|it| it.is_ascii_alphanumeric() || "+.-:".contains(it))
    };
    if scheme.is_some_and(|scheme| !scheme_is_plain(scheme)) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let mut parts = authority.split(':');
    let host = parts.next().filter(|host| is_host(host))?;
    let port = match parts.next() {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => None,
    };
    if scheme.is_none() && port.is_none() && !is_address {
        return None;
    }
    Some((scheme.map(str::to_owned), host.to_owned(), port))
}

/// A DNS name with a letter in it (RFC 1123, lower case as Kubernetes requires).
fn is_host(host: &str) -> bool {
    host.len() <= 253
        && host.chars().any(|it| it.is_ascii_lowercase())
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(key: &str, value: &str) -> Vec<String> {
        mentions(key, value)
            .into_iter()
            .map(|it| {
                format!(
                    "{}|{}|{}",
                    it.scheme.unwrap_or_default(),
                    it.host,
                    it.port.unwrap_or(0)
                )
            })
            .collect()
    }

    #[test]
    fn addresses_are_found_and_passwords_dropped() {
        assert_eq!(
            hosts(
                "X",
                "postgresql://accounts-admin:accounts-pwd@accounts-db:5432/accounts-db"
            ),
            ["postgresql|accounts-db|5432"]
        );
        assert_eq!(
            hosts("X", "jdbc:postgresql://ledger-db:5432/postgresdb"),
            ["jdbc:postgresql|ledger-db|5432"]
        );
        assert_eq!(
            hosts("X", "jdbc:oracle:thin:@core-db.prod:1521:ORCL"),
            ["jdbc:oracle:thin|core-db.prod|1521"]
        );
        assert_eq!(
            hosts("BROKERS", "kafka-0:9092,kafka-1:9092"),
            ["|kafka-0|9092", "|kafka-1|9092"]
        );
        assert_eq!(hosts("DB_HOST", "ledger-db"), ["|ledger-db|0"]);
    }

    #[test]
    fn what_is_no_address_is_left_alone() {
        for value in [
            "883745000",
            "info",
            "12:30",
            "-Xms256m -Xmx512m",
            "accounts-db",
            "a:b",
            "x:0",
        ] {
            assert_eq!(hosts("POSTGRES_DB", value), Vec::<String>::new(), "{value}");
        }
    }
}
