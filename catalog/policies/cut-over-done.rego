# The storage was cut over, not rolled back since, and its stall was measured.
package yundu.cut_over_done

cut := data.yundu.lib.latest("cutover.done")

rolled_back if data.yundu.lib.latest("rollback.done").at_us > cut.at_us

verdict := data.yundu.lib.pass([data.yundu.lib.tell("存储已切换，最长停顿 %d µs", "storage cut over, longest stall %d µs", [cut.body.stall_us_max])]) if {
	data.yundu.lib.not_negative(cut.body.stall_us_max)
	not rolled_back
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("存储还没有切换：运行 yundu move run %s", "the storage was not cut over: run `yundu move run %s`", [input.move.id]) if {
	not cut
}

missing contains data.yundu.lib.tell("切换之后又回退了：重新切换 yundu move run %s", "the cut-over was rolled back: cut over again with `yundu move run %s`", [input.move.id]) if {
	rolled_back
}
