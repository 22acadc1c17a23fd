# The application is in the estate, with an owner, and the move names its volumes.
package yundu.estate_known

found := [a | some a in input.estate.applications; a.id == input.move.application]

verdict := data.yundu.lib.pass([data.yundu.lib.tell("应用系统 %s 在资产中，共 %d 个卷", "application %s is in the estate, %d volumes", [input.move.application, count(input.move.volumes)])]) if {
	is_string(input.estate.digest)
	count(found) == 1
	count(input.move.volumes) > 0
	found[0].owner != null
	found[0].owner != ""
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("资产中没有应用系统 %s：先用 yundu estate import FILE 导入", "application %s is not in the estate: import it with `yundu estate import FILE`", [input.move.application]) if {
	count(found) == 0
}

missing contains data.yundu.lib.tell("应用系统 %s 没有业务负责人：在资产文件中补上 owner 后重新导入", "application %s has no business owner: add `owner` to the estate file and import it again", [input.move.application]) if {
	some a in found
	object.get(a, "owner", "") in ["", null]
}

missing contains data.yundu.lib.tell("迁移单 %s 没有列出卷", "move %s names no volumes", [input.move.id]) if {
	count(object.get(input.move, "volumes", [])) == 0
}
