package bus

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/scaler"
)

// What comes after a session has ended is not handed on: the next session hands it on, after what was left undone.
func TestEndedSessionHandsNothingOn(t *testing.T) {
	subjects, err := NewSubjects(DefaultPrefix)
	check(t, err)
	d := &domain{make(chan given, 2)}
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{Sessions: &Sessions{config: SessionConfig{Subjects: subjects, Commands: d}}, ctx: ctx}
	m := nats.NewMsg(subjects.Command(scaler.Stop, files))
	s.take(m, place{stream: 1})
	s.end(cancel)
	s.take(m, place{stream: 2})
	if len(d.given) != 1 || ctx.Err() == nil {
		t.Errorf("%d commands were handed on, want the first", len(d.given))
	}
}
