//! The report of a move: one self-contained HTML page, from data alone.
//!
//! [`render`] is a pure function: no clock, store or file. The page loads nothing from anywhere,
//! switches between Chinese and English by itself, follows the reader's light or dark setting and
//! prints on paper. Whatever comes from data is escaped.

mod charts;
mod data;
mod guards;
mod html;
mod proof;

pub use data::*;

use html::{both, digest, escape, time, tr};
use std::fmt::Write as _;
use yundu_estate::text::Lang;

const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");

/// The page; it opens in `lang`.
pub fn render(data: &ReportData, lang: Lang) -> String {
    let (code, language) = match lang {
        Lang::Zh => ("zh", "zh-CN"),
        Lang::En => ("en", "en"),
    };
    let mut page = String::with_capacity(256 * 1024);
    let title = format!("{} · {} · Yundu", data.application.get(lang), data.move_id);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang={language} data-lang={code}>\n<head>\n<meta charset=utf-8>\n\
         <meta name=viewport content='width=device-width,initial-scale=1'>\n\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <meta name=color-scheme content='light dark'>\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(&title)
    );
    header(&mut page, data);
    page.push_str("<main>\n");
    for section in [
        proof::figures,
        charts::timeline,
        charts::workload,
        guards::gates,
        guards::approvals,
        proof::reconciliation,
        proof::volumes,
        proof::plan,
        proof::contradictions,
        proof::ledger,
    ] {
        section(&mut page, data);
        page.push('\n');
    }
    page.push_str("</main>\n");
    footer(&mut page, data);
    let _ = write!(page, "<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

fn header(page: &mut String, data: &ReportData) {
    let (class, zh, en) = match data.outcome {
        Outcome::Succeeded => ("pass", "迁移完成", "Move completed"),
        Outcome::Running => ("warn", "进行中", "Under way"),
        Outcome::RolledBack => ("warn", "已回退", "Rolled back"),
        Outcome::Failed => ("fail", "已停止，需要人工处理", "Stopped, needs a person"),
    };
    page.push_str("<header><div class=bar><span class=brand>云渡 <b>Yundu</b></span>");
    let _ = write!(page, "<span class=where>{}</span>", both(&data.institution));
    page.push_str("<button type=button id=language lang=''><span lang=zh>English</span><span lang=en>中文</span></button></div>");
    let _ = write!(
        page,
        "<p class=kicker>{}</p><h1>{}</h1><p class='outcome {class}'>{}</p>",
        tr("迁移报告", "Report of a move"),
        both(&data.application),
        tr(zh, en)
    );
    let _ = write!(
        page,
        "<p class=summary>{}</p><dl class=facts>",
        both(&data.summary)
    );
    let route = format!("{} → {}", both(&data.source_site), both(&data.target_site));
    for (name, value) in [
        (
            tr("迁移单", "move"),
            format!("<code>{}</code>", escape(&data.move_id)),
        ),
        (
            tr("应用系统", "application"),
            format!("<code>{}</code>", escape(&data.application_id)),
        ),
        (tr("路线", "route"), route),
        (tr("方法", "method"), both(&data.method)),
        (tr("申请人", "requested by"), escape(&data.requester)),
        (tr("摘要", "digest"), digest(&data.move_digest)),
    ] {
        let _ = write!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl></header>\n");
}

fn footer(page: &mut String, data: &ReportData) {
    let _ = writeln!(
        page,
        "<footer><p>{}</p><p>{} {}</p></footer>",
        tr(
            "本报告是自查结果，不是任何监管机构或测评机构的正式评估。引用的标准以正式文本为准，标注“未核对”的条款须由机构自行确认。",
            "This report is a self-check and no official assessment by any authority or assessor. The standards referred to are authoritative in their official texts; clauses marked unverified are for the institution to confirm."
        ),
        tr("生成于", "Made at"),
        time(data.generated_at_us)
    );
}

#[cfg(test)]
mod report_test;
