# Both sites fit for a block copy: same architecture, page size, engine version, collation.
package yundu.preflight_passed

results := [r | some r in input.evidence; r.kind in ["preflight.passed", "preflight.refused"]; r.subject == input.move.id]

outcome := data.yundu.lib.last(results)

checked := {c.name | some c in outcome.body.checks; c.passed == true}

uncovered := {v | some v in input.move.volumes; not v in outcome.body.volumes}

verdict := data.yundu.lib.pass([data.yundu.lib.tell("预检通过：%s", "preflight passed: %s", [concat(", ", checked)])]) if {
	outcome.kind == "preflight.passed"
	every name in data.parameters.checks {
		name in checked
	}
	every check in outcome.body.checks {
		check.passed == true
	}
	count(input.move.volumes) > 0
	count(uncovered) == 0
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("没有预检记录：运行 yundu move run %s", "there is no preflight record: run `yundu move run %s`", [input.move.id]) if {
	count(results) == 0
}

missing contains data.yundu.lib.tell("预检不通过：%s 在源端是 %v，在目标端是 %v；块复制不能跨越它，请改用异构迁移", "preflight refused: %s is %v at the source and %v at the target; a block copy cannot cross that, move the data by its logic instead", [c.name, c.source, c.target]) if {
	some c in outcome.body.checks
	c.passed == false
}

missing contains data.yundu.lib.tell("预检没有检查 %s：重新运行 yundu move run %s", "preflight did not check %s: run `yundu move run %s` again", [name, input.move.id]) if {
	is_array(outcome.body.checks)
	some name in data.parameters.checks
	not name in {c.name | some c in outcome.body.checks}
}

missing contains data.yundu.lib.tell("卷 %s 不在预检范围内", "volume %s was not part of the preflight", [volume]) if {
	is_array(outcome.body.volumes)
	some volume in uncovered
}
