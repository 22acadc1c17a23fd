# Two distinct persons in the required roles agreed to destroy the old source.
package yundu.retire_approved

roles := data.parameters.roles

verdict := data.yundu.lib.pass([data.yundu.lib.tell("销毁由 %s 批准", "destruction approved by %s", [concat(", ", data.yundu.lib.approvers("retire"))])]) if {
	is_string(input.move.digest)
	data.yundu.lib.quorum("retire", roles)
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("销毁源端缺少 %s 的批准：由申请人 %s 以外的人员运行 yundu move approve %s --retire --as PERSON", "destroying the source lacks an approval in the role %s: somebody other than the requester %s runs `yundu move approve %s --retire --as PERSON`", [role, input.move.requester, input.move.id]) if {
	some role in data.yundu.lib.uncovered("retire", roles)
}

missing contains data.yundu.lib.tell("需要 %d 位不同人员，现在只有 %d 位", "%d distinct persons are needed, there are %d", [count(roles), count(data.yundu.lib.approvers("retire"))]) if {
	is_string(input.move.requester)
	count(data.yundu.lib.uncovered("retire", roles)) == 0
	count(data.yundu.lib.objectors("retire")) == 0
	not data.yundu.lib.quorum("retire", roles)
}

missing contains data.yundu.lib.tell("%s 反对销毁", "%s objects to the destruction", [person]) if {
	some person in data.yundu.lib.objectors("retire")
}
