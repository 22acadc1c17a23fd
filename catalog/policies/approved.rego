# Distinct persons in the required roles approved exactly this move, each with a valid signature.
package yundu.approved

roles := data.parameters.roles

verdict := data.yundu.lib.pass([data.yundu.lib.tell("由 %s 批准", "approved by %s", [concat(", ", data.yundu.lib.approvers("move"))])]) if {
	is_string(input.move.digest)
	data.yundu.lib.quorum("move", roles)
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("缺少 %s 的批准：由一位具备该角色、且不是申请人 %s 的人员运行 yundu move approve %s --as PERSON", "an approval in the role %s is missing: somebody with that role, other than the requester %s, runs `yundu move approve %s --as PERSON`", [role, input.move.requester, input.move.id]) if {
	some role in data.yundu.lib.uncovered("move", roles)
}

missing contains data.yundu.lib.tell("需要 %d 位不同人员的批准，现在只有 %d 位：同一人不能代表两个角色", "%d approvals by distinct persons are needed, there are %d: one person cannot stand for two roles", [count(roles), count(data.yundu.lib.approvers("move"))]) if {
	is_string(input.move.requester)
	count(data.yundu.lib.uncovered("move", roles)) == 0
	count(data.yundu.lib.objectors("move")) == 0
	not data.yundu.lib.quorum("move", roles)
}

missing contains data.yundu.lib.tell("%s 反对：消除其理由后请其重新决定（yundu move approve %s --as %s）", "%s objects: settle the reason, then ask for a new decision (`yundu move approve %s --as %s`)", [person, input.move.id, person]) if {
	some person in data.yundu.lib.objectors("move")
}

# Named only while approvals are missing: a bad signature beside two good ones stops nobody.
missing contains {
	"zh": sprintf("%s 的批准无效：%v", [a.person, object.get(refusal, "zh", "签名不正确")]),
	"en": sprintf("the approval by %s is not valid: %v", [a.person, object.get(refusal, "en", "its signature is wrong")]),
} if {
	some a in input.approvals
	a.subject_kind == "move"
	a.valid == false
	not data.yundu.lib.quorum("move", roles)
	refusal := refusal_of(a)
}

refusal_of(a) := a.refusal if is_object(a.refusal)

refusal_of(a) := {} if not is_object(object.get(a, "refusal", null))
