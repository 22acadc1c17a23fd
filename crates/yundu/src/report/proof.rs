//! What shows that nothing was lost: figures, reconciliation, digests, ledger; and where the
//! move stands in the plan.

use super::data::{Figure, ReportData, Unit, Volume};
use super::html::{both, escape, quantity, quantity_text, section, table, tr};
use std::fmt::Write as _;

/// Key figures, each beside its target.
pub fn figures(page: &mut String, data: &ReportData) {
    if data.figures.is_empty() {
        return;
    }
    page.push_str("<section id=figures class=figures>");
    for figure in &data.figures {
        one_figure(page, figure);
    }
    page.push_str("</section>");
}

fn one_figure(page: &mut String, figure: &Figure) {
    let met = match (figure.value, figure.at_most) {
        (Some(value), Some(at_most)) if value <= at_most => "met",
        (_, None) => "plain",
        (Some(_) | None, Some(_)) => "missed",
    };
    let _ = write!(
        page,
        "<div class='figure {met}'><h3>{}</h3>",
        both(&figure.title)
    );
    match figure.value.map(|value| quantity(value, figure.unit)) {
        Some((number, unit)) => {
            let _ = write!(
                page,
                "<p class=value>{}<small>{unit}</small></p>",
                escape(&number)
            );
        }
        None => {
            let _ = write!(page, "<p class=value>{}</p>", tr("未知", "unknown"));
        }
    }
    if let Some(at_most) = figure.at_most {
        let limit = quantity_text(at_most, figure.unit);
        let (zh, en) = match met {
            "met" => ("达成", "met"),
            _ => ("未达成", "missed"),
        };
        let bound = if at_most == 0 { "=" } else { "≤" };
        let _ = write!(
            page,
            "<p class=target>{} {bound} {} · {}</p>",
            tr("目标", "target"),
            escape(&limit),
            tr(zh, en)
        );
    }
    let _ = write!(page, "<p class=note>{}</p></div>", both(&figure.note));
}

/// Business figures before and after.
pub fn reconciliation(page: &mut String, data: &ReportData) {
    section(
        page,
        "reconciliation",
        "业务对账",
        "Business reconciliation",
    );
    if data.reconciliation.rows.is_empty() {
        let _ = write!(
            page,
            "<p class=none>{}</p></section>",
            tr("没有对账记录。", "No reconciliation.")
        );
        return;
    }
    let cell = |value: &Option<String>| match value {
        Some(value) => format!("<span class=number>{}</span>", escape(value)),
        None => "–".to_owned(),
    };
    let rows: Vec<Vec<String>> = data
        .reconciliation
        .rows
        .iter()
        .map(|row| {
            let agrees = match row.agrees {
                Some(true) => format!("<span class='tag pass'>{}</span>", tr("一致", "agrees")),
                Some(false) => format!("<span class='tag fail'>{}</span>", tr("不一致", "differs")),
                None => format!("<span class='tag'>{}</span>", tr("未比较", "not compared")),
            };
            vec![both(&row.name), cell(&row.before), cell(&row.after), agrees]
        })
        .collect();
    let head = [
        tr("指标", "figure"),
        tr("切换前", "before"),
        tr("切换后", "after"),
        tr("结论", "result"),
    ];
    table(page, &head, &rows);
    let signed = |person: &str| match person {
        "" => tr("未签字", "not signed"),
        person => escape(person),
    };
    let _ = write!(
        page,
        "<p class=basis>{}: {} · {}: {}</p></section>",
        tr("切换前签字", "signed before"),
        signed(&data.reconciliation.signed_before),
        tr("切换后签字", "signed after"),
        signed(&data.reconciliation.signed_after)
    );
}

/// Digests of both copies as of the cut, and what was sent.
pub fn volumes(page: &mut String, data: &ReportData) {
    if data.volumes.is_empty() {
        return;
    }
    section(page, "copies", "两端比对", "Source and target");
    for volume in &data.volumes {
        one_volume(page, volume);
    }
    page.push_str("</section>");
}

fn one_volume(page: &mut String, volume: &Volume) {
    let known = !volume.source_digest.is_empty() && !volume.target_digest.is_empty();
    let state = match known {
        true if volume.source_digest == volume.target_digest => {
            format!(
                "<span class='tag pass'>{}</span>",
                tr("逐位相同", "identical")
            )
        }
        true => format!("<span class='tag fail'>{}</span>", tr("不同", "different")),
        false => format!(
            "<span class='tag warn'>{}</span>",
            tr("尚未比对", "not compared")
        ),
    };
    let bytes = |bytes: u64| quantity_text(i64::try_from(bytes).unwrap_or(i64::MAX), Unit::Bytes);
    let _ = write!(
        page,
        "<div class=volume><h3>{} <small>{}</small> {state}</h3><dl class=digests><dt>{}</dt><dd><code>{}</code></dd><dt>{}</dt><dd><code>{}</code></dd></dl>",
        escape(&volume.name),
        bytes(volume.size_bytes),
        tr("源", "source"),
        escape(&volume.source_digest),
        tr("目标", "target"),
        escape(&volume.target_digest)
    );
    let _ = write!(
        page,
        "<p class=basis>{} <code>{}</code> · {} {} · {} {} · {} {}</p></div>",
        tr("BLAKE3 哈希树，切换点", "BLAKE3 tree as of cut"),
        escape(&volume.cut),
        tr("全量复制", "full copy"),
        bytes(volume.copy_bytes),
        tr("断链期间变脏", "dirtied while the link was lost"),
        bytes(volume.dirtied_bytes),
        tr("重新发送", "sent again"),
        bytes(volume.resync_bytes)
    );
}

/// Waves and the head of the ranking.
pub fn plan(page: &mut String, data: &ReportData) {
    if data.waves.is_empty() && data.ranking.is_empty() {
        return;
    }
    section(page, "plan", "批次与排序", "Waves and ranking");
    if !data.waves.is_empty() {
        page.push_str("<ol class=waves>");
        for wave in &data.waves {
            let _ = write!(
                page,
                "<li><b>{}</b><small>{}</small><p>",
                wave.number,
                both(&wave.title)
            );
            for (id, name) in &wave.applications {
                let class = if *id == data.application_id {
                    " class=here"
                } else {
                    ""
                };
                let _ = write!(page, "<span{class}>{}</span>", both(name));
            }
            page.push_str("</p></li>");
        }
        page.push_str("</ol>");
    }
    if !data.ranking.is_empty() {
        let rows: Vec<Vec<String>> = data
            .ranking
            .iter()
            .enumerate()
            .map(|(index, ranked)| {
                let score = format!(
                    "{}.{:03}",
                    ranked.score_milli / 1_000,
                    ranked.score_milli % 1_000
                );
                vec![
                    format!("{}", index + 1),
                    format!(
                        "{}<small>{}</small>",
                        both(&ranked.name),
                        escape(&ranked.application)
                    ),
                    format!("<span class=number>{score}</span>"),
                    both(&ranked.reason),
                ]
            })
            .collect();
        let head = [
            String::new(),
            tr("应用系统", "application"),
            tr("得分", "score"),
            tr("理由", "why"),
        ];
        table(page, &head, &rows);
    }
    page.push_str("</section>");
}

/// Attributes on which sources disagree.
pub fn contradictions(page: &mut String, data: &ReportData) {
    if data.contradictions.is_empty() {
        return;
    }
    section(
        page,
        "contradictions",
        "资产中的矛盾",
        "Contradictions in the estate",
    );
    let lead = tr(
        "不同来源对同一属性说法不一；全部保留，由人裁定。",
        "Sources disagree about these attributes; every statement is kept, people decide.",
    );
    let _ = write!(page, "<p class=lead>{lead}</p>");
    let rows: Vec<Vec<String>> = data
        .contradictions
        .iter()
        .map(|found| {
            let mut claims = String::from("<ul class=claims>");
            for (value, place) in &found.claims {
                let _ = write!(
                    claims,
                    "<li><b>{}</b> <code>{}</code></li>",
                    escape(value),
                    escape(place)
                );
            }
            claims.push_str("</ul>");
            vec![escape(&found.subject), escape(&found.attribute), claims]
        })
        .collect();
    let head = [
        tr("对象", "subject"),
        tr("属性", "attribute"),
        tr("各来源的说法", "what each source says"),
    ];
    table(page, &head, &rows);
    page.push_str("</section>");
}

/// The ledger, and how an outsider verifies it.
pub fn ledger(page: &mut String, data: &ReportData) {
    let ledger = &data.ledger;
    section(page, "ledger", "证据账本", "Evidence ledger");
    let state = match ledger.verified {
        Some(true) => format!("<span class='tag pass'>{}</span>", tr("已校验", "verified")),
        Some(false) => format!(
            "<span class='tag fail'>{}</span>",
            tr("校验失败", "verification failed")
        ),
        None => format!(
            "<span class='tag'>{}</span>",
            tr("本报告未校验", "not verified by this report")
        ),
    };
    let zh = format!("共 {} 条记录。", ledger.entries);
    let en = format!("{} records. ", ledger.entries);
    let _ = write!(page, "<p class=lead>{}{state}</p>", tr(&zh, &en));
    if !ledger.kinds.is_empty() {
        page.push_str("<p class=kinds>");
        for (kind, number) in &ledger.kinds {
            let _ = write!(page, "<span><code>{}</code> {number}</span>", escape(kind));
        }
        page.push_str("</p>");
    }
    if !ledger.checkpoint.is_empty() {
        let _ = write!(
            page,
            "<h3>{}</h3><pre>{}</pre>",
            tr(
                "签名检查点（请另行保存一份）",
                "Signed checkpoint (keep a copy elsewhere)"
            ),
            escape(ledger.checkpoint.trim_end())
        );
    }
    let directory = quoted(&ledger.directory);
    let key = quoted(&ledger.verifier_key);
    let _ = write!(
        page,
        "<h3>{}</h3><pre>{}\n{}</pre><p class=basis>{}</p></section>",
        tr("如何校验", "How to verify"),
        escape(&format!("yundu ledger verify {directory} --key {key}")),
        escape(&format!("python3 docs/verify/verify.py {directory} {key}")),
        tr(
            "两个程序没有共同代码。再给出此前自行保存的检查点（yundu 用 --kept FILE），能发现用真实密钥重写的账本。",
            "The two programs share no code. Given a checkpoint that somebody else kept (`--kept FILE`), they also find a ledger that was rewritten with the real key."
        )
    );
}

/// As a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:+=@,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
