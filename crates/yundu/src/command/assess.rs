//! `yundu assess`: rank applications, with the reasons shown.

use crate::command::estate::documents;
use crate::context::{Context, Outcome};
use yundu_assess::{CriterionName, Ranked, rank};
use yundu_estate::table::Table;

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  yundu assess
  yundu assess --limit 5 --reasons
  yundu assess --json | jq '.[0].criteria'

The score is 0 to 1000 milli-points: transaction frequency 400, data sensitivity 400, tier 100,
recovery targets 50, dependents 50. What is missing (marked `?`) counts as the most critical value.")]
pub struct Args {
    /// Show only the first N
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Show how each score came about
    #[arg(long)]
    reasons: bool,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    let estate = documents::estate(context)?;
    let mut ranked = rank(&estate);
    ranked.truncate(args.limit.unwrap_or(usize::MAX));
    context.print(&ranked, || text(context, &ranked, args.reasons))
}

fn text(context: &Context, ranked: &[Ranked], with_reasons: bool) -> String {
    let lang = context.lang;
    let titles = [
        CriterionName::TransactionFrequency,
        CriterionName::DataSensitivity,
        CriterionName::Tier,
        CriterionName::RecoveryTargets,
        CriterionName::Dependents,
    ]
    .map(|name| format!("{} /{}", name.title().get(lang), name.weight_milli()));
    let fixed = [
        "#",
        context.tr("标识", "id"),
        context.tr("名称", "name"),
        context.tr("评分 /1000", "score /1000"),
    ];
    let mut table =
        Table::new(fixed.map(str::to_owned).into_iter().chain(titles)).right([0, 3, 4, 5, 6, 7, 8]);
    for one in ranked {
        let head = [
            one.rank.to_string(),
            one.application.clone(),
            one.name.get(lang).to_owned(),
            one.score_milli.to_string(),
        ];
        let points = one.criteria.iter().map(|criterion| {
            let mark = match (criterion.is_missing, criterion.is_contradicted) {
                (true, _) => "? ",
                (_, true) => "≠ ",
                _ => "",
            };
            format!("{mark}{}", criterion.points_milli)
        });
        table.row(head.into_iter().chain(points));
    }
    let mut parts = vec![table.render()];
    if with_reasons {
        for one in ranked {
            let mut lines = vec![format!(
                "{}. {} = {}",
                one.rank, one.application, one.score_milli
            )];
            lines.extend(one.criteria.iter().map(|criterion| {
                format!(
                    "   {}: {}",
                    criterion.name.title().get(lang),
                    criterion.reason.get(lang)
                )
            }));
            parts.push(lines.join("\n"));
        }
    }
    let incomplete = ranked
        .iter()
        .filter(|one| one.missing().next().is_some())
        .count();
    if incomplete > 0 {
        parts.push(match lang {
            yundu_estate::text::Lang::Zh => {
                format!("? {incomplete} 个应用系统缺少数据：缺失项按最高风险计分，补全后评分只会降低")
            }
            yundu_estate::text::Lang::En => format!(
                "? {incomplete} application(s) lack data: what is missing counts as the most critical value, so more data can only lower the score"
            ),
        });
    }
    parts.join("\n\n")
}
