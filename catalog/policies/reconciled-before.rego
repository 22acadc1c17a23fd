# The business figures before the cut are on record and signed by the business owner.
package yundu.reconciled_before

before := data.yundu.lib.last([r | some r in data.yundu.lib.records("reconcile.recorded"); r.body.phase == "before"])

signed_by := {a.person |
	some a in input.approvals
	a.subject_kind == "reconciliation"
	a.subject_digest == before.body.facts_digest
	a.decision == "approve"
	a.valid == true
	some known in input.people
	known.id == a.person
	data.parameters.role in known.roles
}

verdict := data.yundu.lib.pass([data.yundu.lib.tell("对账（%d 项）由 %s 签字", "reconciliation (%d figures) signed by %s", [count(before.body.facts), concat(", ", signed_by)])]) if {
	count(before.body.facts) > 0
	is_string(before.body.facts_digest)
	count(signed_by) > 0
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("没有切换前的业务对账：运行 yundu move run %s 到对账步骤", "there is no business reconciliation from before the cut: run `yundu move run %s` up to its reconciliation step", [input.move.id]) if {
	not before
}

missing contains data.yundu.lib.tell("切换前的对账没有业务负责人签字：由一位 %s 运行 yundu move approve %s --reconciliation before --as PERSON", "the reconciliation from before the cut is not signed by the business owner: a %s runs `yundu move approve %s --reconciliation before --as PERSON`", [data.parameters.role, input.move.id]) if {
	before
	count(signed_by) == 0
}

missing contains data.yundu.lib.tell("切换前的对账没有任何数字", "the reconciliation from before the cut holds no figures", []) if {
	count(object.get(before.body, "facts", {})) == 0
}
