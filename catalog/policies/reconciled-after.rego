# The business figures after the switch agree with those before, and the owner signed them.
package yundu.reconciled_after

after := data.yundu.lib.last([r | some r in data.yundu.lib.records("reconcile.recorded"); r.body.phase == "after"])

signed_by := {a.person |
	some a in input.approvals
	a.subject_kind == "reconciliation"
	a.subject_digest == after.body.facts_digest
	a.decision == "approve"
	a.valid == true
	some known in input.people
	known.id == a.person
	data.parameters.role in known.roles
}

verdict := data.yundu.lib.pass([data.yundu.lib.tell("切换后对账一致（%d 项），由 %s 签字", "figures after the switch agree (%d), signed by %s", [count(after.body.facts), concat(", ", signed_by)])]) if {
	after.body.agrees == true
	count(after.body.facts) > 0
	count(signed_by) > 0
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("没有切换后的业务对账：运行 yundu move run %s", "there is no business reconciliation from after the switch: run `yundu move run %s`", [input.move.id]) if {
	not after
}

missing contains data.yundu.lib.tell("切换后的对账与之前不一致：%s；查明原因，必要时回退", "figures after the switch differ: %s; find the cause, roll back if needed", [concat(", ", names)]) if {
	after.body.agrees == false
	names := [sprintf("%v", [d.name]) | some d in object.get(after.body, "differences", [])]
}

missing contains data.yundu.lib.tell("切换后的对账没有业务负责人签字：由一位 %s 运行 yundu move approve %s --reconciliation after --as PERSON", "the reconciliation after the switch is not signed by the business owner: a %s runs `yundu move approve %s --reconciliation after --as PERSON`", [data.parameters.role, input.move.id]) if {
	after
	count(signed_by) == 0
}
