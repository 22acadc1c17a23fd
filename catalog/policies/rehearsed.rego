# This move was cut over and rolled back in rehearsal, recently, and the measured figures hold.
package yundu.rehearsed

drill := data.yundu.lib.latest("drill.rehearsed")

age_s_max := data.parameters.age_days_max * 86400

# The move's own target may be tighter than the institution's limit, never looser.
stall_us_max := min({data.parameters.stall_us_max, targeted})

targeted := value if {
	value := input.move.targets.stall_us_max
	data.yundu.lib.not_negative(value)
} else := data.parameters.stall_us_max

verdict := data.yundu.lib.pass([data.yundu.lib.tell("演练成功：最长停顿 %d µs（上限 %d），回退 %d µs，丢失写入 0", "rehearsed: longest stall %d µs (limit %d), rollback %d µs, lost writes 0", [drill.body.stall_us_max, stall_us_max, drill.body.rollback_us])]) if {
	drill.body.succeeded == true
	data.yundu.lib.fresh(drill, age_s_max)
	data.yundu.lib.not_negative(drill.body.stall_us_max)
	drill.body.stall_us_max < stall_us_max
	data.yundu.lib.not_negative(drill.body.rollback_us)
	drill.body.lost_writes == 0
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("没有演练证据：运行 yundu move run %s 到演练步骤，它会切换、回退并测量", "there is no evidence of a rehearsal: run `yundu move run %s` up to its rehearsal step, which cuts over, rolls back and measures", [input.move.id]) if {
	count(data.yundu.lib.records("drill.rehearsed")) == 0
}

missing contains data.yundu.lib.tell("最近一次演练没有成功：查看 yundu move status %s，排除原因后重新演练", "the last rehearsal did not succeed: see `yundu move status %s`, remove the cause and rehearse again", [input.move.id]) if {
	object.get(drill.body, "succeeded", null) == false
}

missing contains data.yundu.lib.tell("演练是 %d 天前的，最多允许 %d 天：重新演练", "the rehearsal is %d days old, at most %d are allowed: rehearse again", [floor(data.yundu.lib.age_s(drill) / 86400), data.parameters.age_days_max]) if {
	not data.yundu.lib.from_future(drill)
	not data.yundu.lib.fresh(drill, age_s_max)
}

missing contains data.yundu.lib.future(drill) if data.yundu.lib.from_future(drill)

missing contains data.yundu.lib.tell("演练测得停顿 %d µs，必须低于 %d µs：降低负载或改善链路后重新演练", "the rehearsal measured a stall of %d µs, it must stay under %d µs: improve the link or choose a quieter window, then rehearse again", [drill.body.stall_us_max, stall_us_max]) if {
	drill.body.stall_us_max >= stall_us_max
}

missing contains data.yundu.lib.tell("演练没有测量%s，重新演练", "the rehearsal did not measure %s: rehearse again", [field]) if {
	count(data.yundu.lib.records("drill.rehearsed")) > 0
	some field in ["stall_us_max", "rollback_us", "lost_writes"]
	not data.yundu.lib.not_negative(object.get(drill.body, field, null))
}

missing contains data.yundu.lib.tell("演练丢失了 %d 笔写入", "the rehearsal lost %d writes", [drill.body.lost_writes]) if {
	drill.body.lost_writes > 0
}
