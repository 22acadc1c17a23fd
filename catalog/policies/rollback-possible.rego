# There is a way back now, and its duration is known.
package yundu.rollback_possible

way_back := data.yundu.lib.latest("rollback.assessed")

verdict := data.yundu.lib.pass([data.yundu.lib.tell("可以回退：约 %d µs，不丢失写入", "rollback possible: about %d µs, nothing lost", [way_back.body.duration_us])]) if {
	data.yundu.lib.fresh(way_back, data.parameters.age_s_max)
	way_back.body.possible == true
	data.yundu.lib.not_negative(way_back.body.duration_us)
	way_back.body.duration_us <= data.parameters.duration_us_max
	way_back.body.lost_writes == 0
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("没有回退评估：运行 yundu move status %s", "rollback was not assessed: run `yundu move status %s`", [input.move.id]) if {
	count(data.yundu.lib.records("rollback.assessed")) == 0
}

missing contains data.yundu.lib.tell("回退评估是 %d 秒前的，最多允许 %d 秒：重新运行 yundu gate check %s GATE", "rollback was assessed %d s ago, at most %d s are allowed: run `yundu gate check %s GATE` again", [data.yundu.lib.age_s(way_back), data.parameters.age_s_max, input.move.id]) if {
	not data.yundu.lib.from_future(way_back)
	not data.yundu.lib.fresh(way_back, data.parameters.age_s_max)
}

missing contains data.yundu.lib.future(way_back) if data.yundu.lib.from_future(way_back)

missing contains {
	"zh": sprintf("现在不能回退：%v", [object.get(reason, "zh", "没有说明原因")]),
	"en": sprintf("rollback is not possible now: %v", [object.get(reason, "en", "no reason given")]),
} if {
	way_back.body.possible == false
	reason := object.get(way_back.body, "reason", {})
}

missing contains data.yundu.lib.tell("回退时间未知：先演练一次（yundu move run %s）", "how long a rollback takes is unknown: rehearse first (`yundu move run %s`)", [input.move.id]) if {
	way_back.body.possible == true
	not data.yundu.lib.not_negative(object.get(way_back.body, "duration_us", null))
}

missing contains data.yundu.lib.tell("回退需要 %d µs，上限 %d µs", "a rollback takes %d µs, the limit is %d µs", [way_back.body.duration_us, data.parameters.duration_us_max]) if {
	way_back.body.duration_us > data.parameters.duration_us_max
}

missing contains data.yundu.lib.tell("回退会丢失写入（%v 笔）：等待反向同步完成", "a rollback would lose writes (%v): wait until the way back is in step", [lost]) if {
	way_back.body.possible == true
	lost := object.get(way_back.body, "lost_writes", null)
	lost != 0
}
