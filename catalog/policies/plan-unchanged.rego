# Approvals bound to another digest are void; they are named until the present one is approved.
package yundu.plan_unchanged

void := [a |
	some a in input.approvals
	a.subject_kind == "move"
	a.decision == "approve"
	a.valid == true
	a.subject_digest != input.move.digest
]

named := [data.yundu.lib.tell("%s 的批准绑定在 %s 上，计划已变更为 %s，该批准作废：请其查看变更后运行 yundu move approve %s --as %s", "the approval by %s is bound to %s, the plan is now %s, so it is void: they look at the change and run `yundu move approve %s --as %s`", [a.person, substring(a.subject_digest, 0, 12), substring(input.move.digest, 0, 12), input.move.id, a.person]) | some a in void]

verdict := data.yundu.lib.pass([]) if {
	is_string(input.move.digest)
	is_array(input.approvals)
	count(void) == 0
} else := data.yundu.lib.pass([data.yundu.lib.tell("计划变更后已重新批准；此前 %d 份批准作废", "approved again after the plan changed; %d earlier approvals are void", [count(void)])]) if {
	count(void) > 0
	data.yundu.lib.quorum("move", data.parameters.roles)
} else := data.yundu.lib.fail(named) if {
	count(void) > 0
}
