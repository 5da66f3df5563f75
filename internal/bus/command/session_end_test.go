package command

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
)

// counter counts the commands that are submitted.
type counter struct {
	submitted int
	last      scaler.Command
}

func (d *counter) Submit(_ context.Context, c scaler.Command, _ func(scaler.Outcome)) {
	d.submitted++
	d.last = c
}

func (d *counter) Reject(scaler.Command, error, func(scaler.Outcome)) {}
func (d *counter) View(*scaler.Server) scaler.View                    { return scaler.View{} }

// A session that has ended submits nothing any more. The next session submits those commands, after
// the unfinished ones.
func TestEndedSessionSubmitsNothing(t *testing.T) {
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	d := new(counter)
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{Sessions: &Sessions{config: Config{Subjects: subjects, Applier: d}}, ctx: ctx}
	m := nats.NewMsg(subjects.Command(wire.VerbStop, wire.ID{Namespace: "team-b", Name: "files"}))
	s.take(m, stream.Metadata{Sequence: 1})
	s.end(cancel)
	s.take(m, stream.Metadata{Sequence: 2})
	if d.submitted != 1 || ctx.Err() == nil {
		t.Errorf("%d commands were submitted, want the first", d.submitted)
	}
}

// On a NATS cluster the clock of the command stream may differ from that of the log. The time at
// which a command was taken and its deadline are in the time of the log. Its Stamp is not shifted.
func TestCommandsOfAnotherClock(t *testing.T) {
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, shift := range []time.Duration{0, time.Hour, -time.Hour} {
		d := new(counter)
		s := &session{Sessions: &Sessions{config: Config{Subjects: subjects, Applier: d}}, ctx: t.Context(), shift: shift}
		m := nats.NewMsg(subjects.Command(wire.VerbStop, wire.ID{Namespace: "team-b", Name: "files"}))
		m.Header.Set(wire.DeadlineHeader, "30s")
		s.take(m, stream.Metadata{Sequence: 7, Time: noon})
		taken := noon.Add(shift)
		if c := d.last; !c.Stamp.Time.Equal(noon) || !c.Taken.Equal(taken) || !c.Deadline.Equal(taken.Add(30*time.Second)) {
			t.Errorf("shifted by %s: got %+v", shift, c)
		}
	}
}
