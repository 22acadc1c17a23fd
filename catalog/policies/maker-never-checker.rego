# Who asks for a move never approves it. An approval by the requester counts for nothing; while
# others have not approved, it keeps the gate closed and is named.
package yundu.maker_never_checker

own contains a.id if {
	some a in input.approvals
	a.subject_kind in ["move", "retire"]
	a.decision == "approve"
	a.person == input.move.requester
}

# Approvals of the present digest by others, whoever they are.
others := data.yundu.lib.approvers(data.parameters.subject_kind)

verdict := data.yundu.lib.pass([]) if {
	is_string(input.move.requester)
	is_array(input.approvals)
	count(own) == 0
} else := data.yundu.lib.pass([data.yundu.lib.tell("申请人 %s 自己的批准没有计入", "the requester's own approval (%s) is not counted", [input.move.requester])]) if {
	is_string(input.move.requester)
	count(own) > 0
	data.yundu.lib.quorum(data.parameters.subject_kind, data.parameters.roles)
} else := data.yundu.lib.fail([data.yundu.lib.tell("申请人 %s 批准了自己的申请，该批准不算数：由另外的人员运行 yundu move approve %s --as PERSON", "the requester %s approved their own request, which does not count: somebody else runs `yundu move approve %s --as PERSON`", [input.move.requester, input.move.id])]) if {
	count(own) > 0
}
