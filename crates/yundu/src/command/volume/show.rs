//! A volume in words.

use crate::context::Context;
use yundu_replicate::control::{Event, Link, Role, Status, SyncState, Verification};

/// Bytes for people.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = count.saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

fn sync_name(context: &Context, sync: SyncState) -> &str {
    match sync {
        SyncState::Alone => context.tr("没有副本", "no other copy"),
        SyncState::Copying => context.tr("正在全量复制", "full copy under way"),
        SyncState::Resyncing => context.tr("正在补齐", "resyncing"),
        SyncState::InStep => context.tr("同步", "in step"),
        SyncState::Degraded => context.tr("降级：副本落后", "degraded: the other copy is behind"),
    }
}

/// One line of progress.
pub fn progress(context: &Context, status: &Status) -> String {
    let remaining = context.tr("剩余", "remaining");
    let mut line = format!(
        "{}: {remaining} {}, {}/s",
        sync_name(context, status.sync),
        bytes(status.remaining_bytes),
        bytes(status.rate_bytes_per_s)
    );
    if let Some(seconds) = status.remaining_bytes.checked_div(status.rate_bytes_per_s) {
        line.push_str(&format!(", {} {seconds} s", context.tr("约需", "about")));
    }
    if status.link == Link::Down
        && let Some(reason) = &status.link_reason
    {
        line.push_str(&format!(" — {reason}"));
    }
    line
}

/// The whole state.
pub fn status(context: &Context, status: &Status) -> String {
    let role = match status.role {
        Role::Primary => context.tr("主", "primary"),
        Role::Secondary => context.tr("备", "secondary"),
    };
    let rpo = match status.rpo_us {
        Some(0) => "0".to_owned(),
        Some(us) => format!("{} ms", us / 1000),
        None if status.link == Link::None => context.tr("无副本", "no other copy").to_owned(),
        None => context.tr("未知", "unknown").to_owned(),
    };
    let rows = [
        (
            context.tr("卷", "volume"),
            format!("{} ({})", status.volume, status.image.display()),
        ),
        (
            context.tr("角色", "role"),
            format!(
                "{role}, {} {}",
                context.tr("世代", "generation"),
                status.generation
            ),
        ),
        (context.tr("大小", "size"), bytes(status.size_bytes)),
        (
            context.tr("副本", "other copy"),
            sync_name(context, status.sync).to_owned(),
        ),
        (context.tr("链路", "link"), link(context, status)),
        (
            context.tr("剩余", "remaining"),
            bytes(status.remaining_bytes),
        ),
        (
            context.tr("已发送", "sent"),
            format!(
                "{} {}, {} {}, {} {}",
                context.tr("全量", "copy"),
                bytes(status.copy_bytes),
                context.tr("补齐", "resync"),
                bytes(status.resync_bytes),
                context.tr("镜像", "mirrored"),
                bytes(status.mirrored_bytes)
            ),
        ),
        ("RPO", rpo),
        (
            context.tr("客户端", "clients"),
            format!(
                "{} {}, {} {}, {} {} µs",
                status.client_requests,
                context.tr("个请求", "requests"),
                status.client_errors,
                context.tr("个错误", "errors"),
                context.tr("最长等待", "longest wait"),
                status.wait_us_max
            ),
        ),
    ];
    rows.iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn link(context: &Context, status: &Status) -> String {
    let state = match status.link {
        Link::None => context.tr("未配置", "not configured"),
        Link::Down => context.tr("断开", "down"),
        Link::Up => context.tr("已连接", "up"),
    };
    match (&status.peer, &status.link_reason) {
        (_, Some(reason)) if status.link != Link::Up => format!("{state} ({reason})"),
        (Some(peer), _) => format!("{state} → {peer}"),
        _ => state.to_owned(),
    }
}

/// Outcome of a comparison.
pub fn verification(context: &Context, verification: &Verification) -> String {
    format!(
        "{} {}: {} {} ({} {})",
        context.tr("已比对", "compared"),
        bytes(verification.compared_bytes),
        verification.differing_leaves,
        context.tr("处不一致", "leaves differ"),
        verification.repaired_leaves,
        context.tr("处已重发", "sent again"),
    )
}

/// Events, one per line.
pub fn events(events: &[Event]) -> String {
    events
        .iter()
        .map(|event| {
            let at = jiff::Timestamp::from_microsecond(event.at_us).unwrap_or_default();
            format!("{:>6} {at} {} {}", event.sequence, event.kind, event.body)
        })
        .collect::<Vec<_>>()
        .join("\n")
}
