//! Recognising a database engine by the name of an image, a URI scheme or a port.

/// Names as they appear in images and URI schemes, and the engine they mean. Longer names that
/// contain shorter ones stand first.
const NAMES: [(&str, &str); 13] = [
    ("opengauss", "opengauss"),
    ("gaussdb", "gaussdb"),
    ("postgres", "postgresql"),
    ("mariadb", "mariadb"),
    ("mysql", "mysql"),
    ("oracle", "oracle"),
    ("db2", "db2"),
    ("mongo", "mongodb"),
    ("redis", "redis"),
    ("valkey", "redis"),
    ("kafka", "kafka"),
    ("rabbitmq", "rabbitmq"),
    ("rocketmq", "rocketmq"),
];

/// Well-known ports (IANA service names and each engine's documentation).
const PORTS: [(u64, &str); 8] = [
    (5432, "postgresql"),
    (3306, "mysql"),
    (1521, "oracle"),
    (50000, "db2"),
    (27017, "mongodb"),
    (6379, "redis"),
    (9092, "kafka"),
    (5672, "rabbitmq"),
];

/// The engine whose name stands in `text`.
pub fn by_name(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    NAMES
        .iter()
        .find(|(name, _)| lower.contains(name))
        .map(|(_, engine)| *engine)
}

/// The engine that usually listens on `port`.
pub fn by_port(port: u64) -> Option<&'static str> {
    PORTS
        .iter()
        .find(|(known, _)| *known == port)
        .map(|(_, engine)| *engine)
}
