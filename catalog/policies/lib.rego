# What the policies share. Evaluation sorts evidence and approvals by time, so the last of a list
# is the latest. A policy passes only on what is positively there: a missing field never passes.
# Functions are called by their full path: the engine resolves no import for them.
package yundu.lib

pass(reasons) := {"status": "pass", "reasons": reasons}

fail(reasons) := {"status": "fail", "reasons": reasons}

records(kind) := [r | some r in input.evidence; r.kind == kind; r.subject == input.move.id]

latest(kind) := last(records(kind))

of_volume(kind, volume) := [r | some r in records(kind); r.body.volume == volume]

last(list) := list[count(list) - 1] if count(list) > 0

age_s(record) := floor((input.now_us - record.at_us) / 1000000)

# A record from the future is not fresh: somebody's clock is wrong.
fresh(record, age_s_max) if {
	record.at_us <= input.now_us
	input.now_us - record.at_us <= age_s_max * 1000000
}

from_future(record) if record.at_us > input.now_us

future(record) := tell("记录 %s 的时间晚于现在：核对各机器的时钟", "record %s is dated after now: check the clocks of the machines", [record.id])

not_negative(value) if {
	is_number(value)
	value >= 0
}

tell(zh, en, values) := {"zh": sprintf(zh, values), "en": sprintf(en, values)}

# The latest decision of each person on the move's present digest, if its signature holds.
decisions(subject_kind) := {a.person: a.decision |
	some a in input.approvals
	a.subject_kind == subject_kind
	a.subject_digest == input.move.digest
	a.valid == true
	a.id == last([b.id |
		some b in input.approvals
		b.subject_kind == subject_kind
		b.subject_digest == input.move.digest
		b.valid == true
		b.person == a.person
	])
}

approvers(subject_kind) := {person |
	some person, decision in decisions(subject_kind)
	decision == "approve"
	person != input.move.requester
}

objectors(subject_kind) := {person |
	some person, decision in decisions(subject_kind)
	decision != "approve"
}

# Roles are taken from the register of people; what an approval says of its signer is not enough.
holders(subject_kind, role) := {person |
	some person in approvers(subject_kind)
	some known in input.people
	known.id == person
	role in known.roles
}

uncovered(subject_kind, roles) := {role | some role in roles; count(holders(subject_kind, role)) == 0}

# Distinct persons for up to three roles (Hall's condition on singles, pairs and all).
quorum(subject_kind, roles) if {
	count(roles) > 0
	is_string(input.move.requester)
	count(uncovered(subject_kind, roles)) == 0
	every first in roles {
		every second in roles {
			enough_for_two(subject_kind, first, second)
		}
	}
	everyone := {person | some role in roles; some person in holders(subject_kind, role)}
	count(everyone) >= count(roles)
	count(objectors(subject_kind)) == 0
}

enough_for_two(_, first, second) if first == second

enough_for_two(subject_kind, first, second) if {
	first != second
	count(holders(subject_kind, first) | holders(subject_kind, second)) >= 2
}
