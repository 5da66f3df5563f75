package command

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
)

// counting counts what is submitted.
type counting struct{ submitted int }

func (d *counting) Submit(context.Context, scaler.Command, func(scaler.Outcome)) { d.submitted++ }
func (d *counting) Reject(scaler.Command, error, func(scaler.Outcome))           {}
func (d *counting) View(*scaler.Server) scaler.View                              { return scaler.View{} }

// What comes after a session has ended is not handed on: the next session hands it on, after what
// was left undone.
func TestEndedSessionHandsNothingOn(t *testing.T) {
	subjects, err := wire.NewSubjects(wire.DefaultPrefix)
	natstest.Check(t, err)
	d := new(counting)
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{Sessions: &Sessions{config: Config{Subjects: subjects, Applier: d}}, ctx: ctx}
	m := nats.NewMsg(subjects.Command(wire.VerbStop, wire.ID{Namespace: "team-b", Name: "files"}))
	s.take(m, stream.Metadata{Sequence: 1})
	s.end(cancel)
	s.take(m, stream.Metadata{Sequence: 2})
	if d.submitted != 1 || ctx.Err() == nil {
		t.Errorf("%d commands were handed on, want the first", d.submitted)
	}
}
