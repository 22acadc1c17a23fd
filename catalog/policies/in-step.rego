# Right now every volume stands on both copies: RPO zero, nothing left to send.
package yundu.in_step

status(volume) := data.yundu.lib.last(data.yundu.lib.of_volume("volume.status", volume))

lost_since(volume) if {
	some r in data.yundu.lib.of_volume("volume.link-lost", volume)
	r.at_us > status(volume).at_us
}

holds(volume) if {
	s := status(volume)
	data.yundu.lib.fresh(s, data.parameters.age_s_max)
	s.body.sync == "in-step"
	s.body.link == "up"
	s.body.mode == "sync"
	s.body.rpo_us == 0
	s.body.remaining_bytes == 0
	not lost_since(volume)
}

verdict := data.yundu.lib.pass([data.yundu.lib.tell("%d 个卷全部同步，RPO 为 0", "all %d volumes in step, RPO 0", [count(input.move.volumes)])]) if {
	count(input.move.volumes) > 0
	every volume in input.move.volumes {
		holds(volume)
	}
} else := data.yundu.lib.fail(missing) if count(missing) > 0

missing contains data.yundu.lib.tell("卷 %s 没有状态记录：先启动复制 yundu move run %s，或查看 yundu volume status %s", "there is no status of volume %s: start replication with `yundu move run %s`, or look at `yundu volume status %s`", [volume, input.move.id, volume]) if {
	some volume in input.move.volumes
	count(data.yundu.lib.of_volume("volume.status", volume)) == 0
}

missing contains data.yundu.lib.tell("卷 %s 的状态是 %d 秒前的，最多允许 %d 秒：重新运行 yundu gate check %s GATE", "the status of volume %s is %d s old, at most %d s are allowed: run `yundu gate check %s GATE` again", [volume, data.yundu.lib.age_s(status(volume)), data.parameters.age_s_max, input.move.id]) if {
	some volume in input.move.volumes
	not data.yundu.lib.from_future(status(volume))
	not data.yundu.lib.fresh(status(volume), data.parameters.age_s_max)
}

missing contains data.yundu.lib.future(status(volume)) if {
	some volume in input.move.volumes
	data.yundu.lib.from_future(status(volume))
}

missing contains data.yundu.lib.tell("卷 %s 未同步：状态 %v，链路 %v，方式 %v，还差 %v 字节；等待 yundu volume status %s 显示 in-step", "volume %s is not in step: state %v, link %v, mode %v, %v bytes to go; wait until `yundu volume status %s` says in-step", [volume, b.sync, b.link, b.mode, b.remaining_bytes, volume]) if {
	some volume in input.move.volumes
	b := status(volume).body
	not behaves(b)
}

behaves(b) if {
	b.sync == "in-step"
	b.link == "up"
	b.mode == "sync"
	b.remaining_bytes == 0
}

missing contains data.yundu.lib.tell("卷 %s 的 RPO 为 %v，必须为 0", "the RPO of volume %s is %v, it must be 0", [volume, rpo]) if {
	some volume in input.move.volumes
	b := status(volume).body
	behaves(b)
	rpo := object.get(b, "rpo_us", null)
	rpo != 0
}

missing contains data.yundu.lib.tell("卷 %s 在上次状态之后断过链路", "volume %s lost its link after its last status", [volume]) if {
	some volume in input.move.volumes
	lost_since(volume)
}
