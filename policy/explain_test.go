package policy

import (
	"errors"
	"testing"
	"time"

	"idle-scaler/activity"
)

// Each reason is told in one sentence that says what is, why, until when, and what would change it.
func TestExplain(t *testing.T) {
	inZone := time.FixedZone("CEST", 7200)
	for _, row := range []struct {
		reason   Reason
		facts    *Facts
		sentence string
	}{
		{Unreadable, running(unreadable), `left as it is: its settings can't be read: idle-after "soon": not a duration`},
		{Unreadable, sleeping(func(f *Facts) { f.Bad = errors.Join(errors.New("one"), errors.New("two")) }), "left as it is: its settings can't be read: one; two"},
		{Paused, running(paused), "stays awake: its annotation idle-scaler/paused says so"},
		{Blind, running(deaf), "left as it is: NATS is away"},
		{Blind, sleeping(settling), "left as it is: NATS is back, until 2026-07-01T12:01:30Z (in 1m30s)"},
		{Blind, running(youngLog), "stays awake: the activity log tells only of the time since 2026-07-01T11:45:00Z, which is shorter than its idle-after of 30m0s, until 2026-07-01T12:15:00Z (in 15m0s)"},
		{Leased, running(leased("09:00:00", "12:05:00")), "stays awake: a lease on it is live, until 2026-07-01T12:05:00Z (in 5m0s)"},
		{Leased, sleeping(leased("09:00:00", "12:05:00")), "wakes: a lease on it is live until 2026-07-01T12:05:00Z"},
		{Starting, running(unready, woken("11:55:00")), "stays awake: it is starting, until 2026-07-01T12:05:00Z (in 5m0s), after which it counts as failed"},
		{RollingOut, running(rollingOut), "stays awake: a rollout is under way"},
		{MinAwake, running(woken("11:59:30")), "stays awake: it was woken a moment ago, until 2026-07-01T12:00:30Z (in 30s)"},
		{Idle, running(), "sleeps at the next sweep: unused for 1h0m0s, its idle-after is 30m0s"},
		{Awake, running(pinged("11:40:00")), "stays awake: unused for 20m0s of its idle-after of 30m0s, until 2026-07-01T12:10:00Z (in 10m0s)"},
		{Awake, running(never), "stays awake: its idle-after is never"},
		{NotOurs, sleeping(notOurs), "stays at zero: somebody else made it zero; a start command wakes it"},
		{Stopped, sleeping(stopped), "stays at zero: a command stopped it at 2026-07-01T11:30:00Z, which lasts until a start or scale command"},
		{Activity, sleeping(pinged("11:50:00")), "wakes: it was used at 2026-07-01T11:50:00Z"},
		{Activity, sleeping(func(f *Facts) { pinged("11:50:00")(f); f.Use.LastAt = f.Use.LastAt.In(inZone) }), "wakes: it was used at 2026-07-01T11:50:00Z"},
		{Asleep, sleeping(), "sleeps since 2026-07-01T11:30:00Z; a ping, a lease or a start command wakes it"},
		{Asleep, sleeping(byCommand), "sleeps since 2026-07-01T11:30:00Z; a start command wakes it, and no ping: its annotation idle-scaler/wake-on-activity says so"},
		{Asleep, sleeping(markLost, func(f *Facts) { f.Use = activity.Use{} }), "sleeps; a ping, a lease or a start command wakes it"},
	} {
		d := rules.Decide(row.facts, noon)
		if sentence := d.Explain(row.facts, noon); d.Reason != row.reason || sentence != row.sentence {
			t.Errorf("%s, want %s:\n%s, want\n%s", d.Reason, row.reason, sentence, row.sentence)
		}
	}
}
