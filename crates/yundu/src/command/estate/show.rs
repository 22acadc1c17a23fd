//! `yundu estate show`.

use crate::context::{Context, Failure, Outcome};
use serde_json::{Value, json};
use yundu_estate::fact::{Attribute, Fact, Facts};
use yundu_estate::model::{Application, Entity};
use yundu_estate::table::Table;
use yundu_estate::text::Text;
use yundu_estate::{Contradiction, Estate, Known, Provenance};

/// Marks a value about which sources differ.
const DIFFERS: &str = "≠";

/// Shows all applications, or one.
pub fn run(context: &Context, estate: &Estate, application: Option<&str>) -> Outcome {
    let Some(id) = application else {
        return context.print(estate, || overview(context, estate));
    };
    let Some(found) = estate.applications.get(id) else {
        let near: Vec<&str> = estate
            .applications
            .keys()
            .map(String::as_str)
            .filter(|known| known.contains(id))
            .collect();
        let hint = if near.is_empty() {
            "yundu estate show".to_owned()
        } else {
            near.join(", ")
        };
        let text = context.tr("没有该应用系统", "no such application");
        return Err(Failure::BadInput(anyhow::anyhow!(
            "{text}: `{id}` ({hint})"
        )));
    };
    let platforms: Vec<_> = estate
        .sites
        .keys()
        .flat_map(|site| estate.platforms(id, site))
        .collect();
    let dependencies = estate.application_dependencies();
    let needs: Vec<_> = dependencies.iter().filter(|it| it.from == id).collect();
    let needed_by: Vec<_> = dependencies.iter().filter(|it| it.to == id).collect();
    let contradictions: Vec<_> = estate
        .contradictions
        .iter()
        .filter(|it| it.id == id)
        .collect();
    let value = json!({
        "application": found,
        "components": estate.components_of(id),
        "data_stores": estate.data_stores_of(id),
        "volumes": estate.volumes_of(id),
        "platforms": platforms,
        "needs": needs,
        "needed_by": needed_by,
        "contradictions": contradictions,
    });
    context.print(&value, || detail(context, estate, found))
}

// === overview ===

fn overview(context: &Context, estate: &Estate) -> String {
    let mut table = Table::new([
        context.tr("标识", "id"),
        context.tr("名称", "name"),
        context.tr("等级", "tier"),
        context.tr("数据级", "grade"),
        context.tr("峰值笔/秒", "peak/s"),
        "RTO s",
        "RPO s",
        context.tr("站点", "site"),
        context.tr("负责人", "owner"),
    ])
    .right([3, 4, 5, 6]);
    for application in estate.applications.values() {
        table.row([
            application.id.clone(),
            application.display_name().get(context.lang).to_owned(),
            cell(&application.tier),
            cell(&application.data_grade),
            cell(&application.peak_transactions_per_second),
            cell(&application.rto_s),
            cell(&application.rpo_s),
            cell(&application.site),
            cell(&application.owner),
        ]);
    }
    let mut parts = vec![table.render()];
    let counts: Vec<String> = yundu_estate::counts(estate)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{} {count}", kind.title().get(context.lang)))
        .collect();
    parts.push(counts.join(context.tr("，", ", ")));
    parts.extend(contradictions(context, estate.contradictions.iter()));
    if !estate.problems.is_empty() {
        let mut table = Table::new([
            context.tr("待查", "problem"),
            context.tr("出处", "location"),
        ]);
        for problem in &estate.problems {
            table.row([
                problem.text.get(context.lang).to_owned(),
                problem.location.clone(),
            ]);
        }
        parts.push(table.render());
    }
    parts.join("\n\n")
}

/// The agreed value; all values where sources differ; `?` where nothing is known.
fn cell<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq>(facts: &Facts<T>) -> String {
    let mut values: Vec<String> = Vec::new();
    for statement in facts.statements() {
        let shown = plain(&statement.value);
        if !values.contains(&shown) {
            values.push(shown);
        }
    }
    if values.is_empty() {
        "?".to_owned()
    } else {
        values.join(&format!(" {DIFFERS} "))
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) if members.contains_key("zh") && members.contains_key("en") => {
            let part = |key: &str| members.get(key).and_then(Value::as_str).unwrap_or_default();
            if part("zh") == part("en") {
                part("zh").to_owned()
            } else {
                format!("{} / {}", part("zh"), part("en"))
            }
        }
        other => other.to_string(),
    }
}

fn contradictions<'a>(
    context: &Context,
    found: impl Iterator<Item = &'a Contradiction>,
) -> Option<String> {
    let mut table = Table::new([
        context.tr("矛盾", "contradiction"),
        context.tr("属性", "attribute"),
        context.tr("值", "value"),
        context.tr("来源", "source"),
        context.tr("出处", "location"),
    ]);
    for contradiction in found {
        let title = contradiction.kind.title();
        for (index, fact) in contradiction.facts.iter().enumerate() {
            let (thing, attribute) = match index {
                0 => (
                    format!("{} {}", title.get(context.lang), contradiction.id),
                    contradiction.attribute.clone(),
                ),
                _ => (String::new(), String::new()),
            };
            table.row([
                thing,
                attribute,
                plain(&fact.value),
                fact.provenance.source.clone(),
                fact.provenance.location.clone(),
            ]);
        }
    }
    (!table.is_empty()).then(|| table.render())
}

// === one application ===

fn detail(context: &Context, estate: &Estate, application: &Application) -> String {
    let name = application.display_name();
    let mut parts = vec![format!(
        "{}  {}",
        application.id,
        plain(&json!(Text::new(name.zh, name.en)))
    )];
    parts.push(facts(context, application));
    let mut stores = Table::new([
        context.tr("数据存储", "data store"),
        context.tr("站点", "site"),
        context.tr("处理器架构", "processor"),
        context.tr("页大小", "page size"),
        context.tr("引擎版本", "engine version"),
        context.tr("排序规则", "collation"),
    ]);
    for platform in estate
        .sites
        .keys()
        .flat_map(|site| estate.platforms(&application.id, site))
    {
        stores.row([
            platform.data_store.clone(),
            platform.site.clone(),
            known(&platform.processor_architecture),
            known(&platform.page_size_bytes),
            known(&platform.engine_version),
            known(&platform.collation),
        ]);
    }
    let mut volumes = Table::new([
        context.tr("卷", "volume"),
        context.tr("站点", "site"),
        context.tr("字节", "bytes"),
    ])
    .right([2]);
    for volume in estate.volumes_of(&application.id) {
        volumes.row([
            volume.id.clone(),
            cell(&volume.site),
            cell(&volume.size_bytes),
        ]);
    }
    let mut components = Table::new([
        context.tr("组件", "component"),
        context.tr("工作负载", "workload"),
        context.tr("副本数", "replicas"),
    ])
    .right([2]);
    for component in estate.components_of(&application.id) {
        components.row([
            component.id.clone(),
            cell(&component.workload),
            cell(&component.replicas),
        ]);
    }
    parts.extend(
        [stores, volumes, components]
            .iter()
            .filter(|it| !it.is_empty())
            .map(Table::render),
    );
    parts.extend(dependencies(context, estate, &application.id));
    parts.extend(contradictions(
        context,
        estate
            .contradictions
            .iter()
            .filter(|it| it.id == application.id),
    ));
    parts.join("\n\n")
}

fn facts(context: &Context, application: &Application) -> String {
    let mut table = Table::new([
        context.tr("属性", "attribute"),
        context.tr("值", "value"),
        context.tr("来源", "source"),
        context.tr("出处", "location"),
        context.tr("导入时间", "imported"),
    ]);
    for (attribute, facts) in application.attributes() {
        let mark = if facts.is_contradicted() {
            format!(" {DIFFERS}")
        } else {
            String::new()
        };
        for Fact { value, provenance } in facts.statements() {
            let Provenance {
                source,
                location,
                at_us,
            } = provenance;
            table.row([
                format!("{attribute}{mark}"),
                plain(&value),
                source,
                location,
                time(at_us),
            ]);
        }
    }
    table.render()
}

fn known(known: &Known) -> String {
    match known {
        Known::Agreed(value) => value.clone(),
        Known::Missing => "?".to_owned(),
        Known::Contradicted(values) => values.join(&format!(" {DIFFERS} ")),
    }
}

fn time(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us)
        .map_or_else(|_| at_us.to_string(), |at| format!("{at:.0}"))
}

fn dependencies(context: &Context, estate: &Estate, id: &str) -> Option<String> {
    let mut table = Table::new([
        context.tr("方向", "direction"),
        context.tr("应用系统", "application"),
        context.tr("方式", "kind"),
        context.tr("出处", "location"),
    ]);
    for dependency in estate.application_dependencies() {
        let (direction, other) = match (dependency.from == id, dependency.to == id) {
            (true, _) => (context.tr("需要", "needs"), &dependency.to),
            (_, true) => (context.tr("被需要", "needed by"), &dependency.from),
            _ => continue,
        };
        let kinds: Vec<String> = dependency
            .kinds
            .iter()
            .map(|kind| plain(&json!(kind)))
            .collect();
        table.row([
            direction.to_owned(),
            other.clone(),
            kinds.join(" "),
            dependency.locations.join(" "),
        ]);
    }
    (!table.is_empty()).then(|| table.render())
}
