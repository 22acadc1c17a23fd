# Source and target were compared as of the cut by their hash trees, and are equal. Where a process
# died with its hash tree, a comparison under load after the cut stands in for it.
package yundu.copies_equal

compared(volume) := data.yundu.lib.last(data.yundu.lib.of_volume("volume.compared", volume))

holds(volume) if {
	b := compared(volume).body
	b.equal == true
	is_string(b.source_digest)
	b.source_digest != ""
	b.source_digest == b.target_digest
}

holds(volume) if {
	b := compared(volume).body
	b.equal == true
	b.by == "verification"
	data.yundu.lib.not_negative(b.compared_bytes)
	b.compared_bytes > 0
}

told(volume) := data.yundu.lib.tell("卷 %s 两端摘要相同：%s", "volume %s: both digests are %s", [volume, compared(volume).body.source_digest]) if {
	is_string(compared(volume).body.source_digest)
} else := data.yundu.lib.tell("卷 %s 的切换点摘要因进程重启丢失；切换后在线比对 %d 字节，没有差异", "volume %s: its digest as of the cut was lost with a process; %d bytes compared under load after the cut, no difference", [volume, compared(volume).body.compared_bytes])

digests := [told(v) | some v in input.move.volumes]

verdict := data.yundu.lib.pass(digests) if {
	count(input.move.volumes) > 0
	every volume in input.move.volumes {
		holds(volume)
	}
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("卷 %s 还没有按切换点比对：等待 yundu volume status %s 给出两端摘要", "volume %s was not compared as of the cut: wait until `yundu volume status %s` shows both digests", [volume, volume]) if {
	some volume in input.move.volumes
	count(data.yundu.lib.of_volume("volume.compared", volume)) == 0
}

missing contains data.yundu.lib.tell("卷 %s 两端摘要不同：源 %v，目标 %v；保留源端，查明原因", "the digests of volume %s differ: source %v, target %v; keep the source and find the cause", [volume, b.source_digest, b.target_digest]) if {
	some volume in input.move.volumes
	b := compared(volume).body
	b.source_digest != b.target_digest
}
