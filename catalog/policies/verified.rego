# The latest comparison under load found no differing leaf, and nothing changed the copy since.
package yundu.verified

verification(volume) := data.yundu.lib.last(data.yundu.lib.of_volume("volume.verified", volume))

# Kinds after which an earlier comparison no longer vouches for the copy.
change(volume) := data.yundu.lib.last([r |
	some r in input.evidence
	r.kind in data.parameters.changes
	r.subject == input.move.id
	r.body.volume == volume
])

stale(volume) if change(volume).at_us > verification(volume).at_us

clean(volume) if {
	b := verification(volume).body
	b.differing_leaves == 0
	b.repaired_leaves == 0
	object.get(b, "aborted", null) == null
	b.compared_bytes > 0
}

compared := [data.yundu.lib.tell("卷 %s 比对 %d 字节，没有差异", "volume %s: %d bytes compared, no difference", [v, verification(v).body.compared_bytes]) | some v in input.move.volumes]

verdict := data.yundu.lib.pass(compared) if {
	count(input.move.volumes) > 0
	every volume in input.move.volumes {
		clean(volume)
		not stale(volume)
	}
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("卷 %s 没有在线比对记录：运行 yundu move run %s 或 yundu volume verify %s", "there is no online verification of volume %s: run `yundu move run %s` or `yundu volume verify %s`", [volume, input.move.id, volume]) if {
	some volume in input.move.volumes
	count(data.yundu.lib.of_volume("volume.verified", volume)) == 0
}

missing contains {
	"zh": sprintf("卷 %s 的目标副本有 %d 个块与源不同（偏移 %s）：用 yundu volume verify %s --repair 修复，再做一次干净的比对", [volume, b.differing_leaves, where, volume]),
	"en": sprintf("%d leaves of the target of volume %s differ from the source (offsets %s): repair with `yundu volume verify %s --repair`, then verify once more", [b.differing_leaves, volume, where, volume]),
} if {
	some volume in input.move.volumes
	b := verification(volume).body
	b.differing_leaves > 0
	offsets := [sprintf("%d", [offset]) | some offset in object.get(b, "differing_offsets", [])]
	where := concat(", ", array.slice(offsets, 0, 8))
}

missing contains data.yundu.lib.tell("卷 %s 的比对中途停止：%v；重新比对", "the verification of volume %s ended early: %v; verify again", [volume, b.aborted]) if {
	some volume in input.move.volumes
	b := verification(volume).body
	object.get(b, "aborted", null) != null
}

missing contains data.yundu.lib.tell("卷 %s 在比对之后发生了 %s：再做一次比对 yundu volume verify %s", "volume %s had %s after its verification: verify again with `yundu volume verify %s`", [volume, change(volume).kind, volume]) if {
	some volume in input.move.volumes
	stale(volume)
}
