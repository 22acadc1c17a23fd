# Source and target were compared as of the cut by their hash trees, and are equal.
package yundu.copies_equal

compared(volume) := data.yundu.lib.last(data.yundu.lib.of_volume("volume.compared", volume))

holds(volume) if {
	b := compared(volume).body
	b.equal == true
	is_string(b.source_digest)
	b.source_digest != ""
	b.source_digest == b.target_digest
}

digests := [data.yundu.lib.tell("卷 %s 两端摘要相同：%s", "volume %s: both digests are %s", [v, compared(v).body.source_digest]) | some v in input.move.volumes]

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
