# The old source was kept until the observation period after the switch ended.
package yundu.source_retained

switched := data.yundu.lib.latest("switch.done")

observation_us := max({input.move.observation_us, data.parameters.observation_s_min * 1000000})

until_us := switched.at_us + observation_us

verdict := data.yundu.lib.pass([data.yundu.lib.tell("观察期 %d 秒已满", "the observation period of %d s is over", [floor(observation_us / 1000000)])]) if {
	data.yundu.lib.not_negative(input.move.observation_us)
	input.now_us >= until_us
	count(data.yundu.lib.records("source.destroyed")) == 0
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("应用还没有切换：运行 yundu move run %s", "the application was not switched: run `yundu move run %s`", [input.move.id]) if {
	not switched
}

missing contains data.yundu.lib.tell("观察期还差 %d 秒：在此之前保留源端", "the observation period lasts %d s more: keep the source until then", [floor((until_us - input.now_us) / 1000000)]) if {
	input.now_us < until_us
}

missing contains data.yundu.lib.tell("源端已经销毁（%s）", "the source was already destroyed (%s)", [r.id]) if {
	some r in data.yundu.lib.records("source.destroyed")
}
