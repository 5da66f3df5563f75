// Package leader is a leader for tests: it takes the commands of the stream and lets the test
// finish them.
package leader

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/activity"
	"idle-scaler/internal/bus/command"
	"idle-scaler/policy"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// Given is one command that was submitted or rejected.
type Given struct {
	scaler.Command
	Ctx    context.Context // of its session
	Err    error           // why it was rejected
	Finish func(scaler.Outcome)
}

// Leader is a command.Applier that puts every command on a channel.
type Leader struct{ Given chan Given }

// Submit takes a command.
func (l *Leader) Submit(ctx context.Context, c scaler.Command, finish func(scaler.Outcome)) {
	l.Given <- Given{c, ctx, nil, finish}
}

// Reject takes a command that makes no sense.
func (l *Leader) Reject(c scaler.Command, err error, finish func(scaler.Outcome)) {
	l.Given <- Given{c, nil, err, finish}
}

// View returns a running server.
func (l *Leader) View(server *scaler.Server) scaler.View {
	return scaler.View{Server: server, Status: policy.StatusRunning}
}

// Lead runs sessions on the streams of cluster "here" until stop is called, or the test ends.
func Lead(w *natstest.Server, nc *nats.Conn, change ...func(*command.Config)) (l *Leader, stop func()) {
	w.T.Helper()
	l = &Leader{make(chan Given, 10_000)}
	config := command.Config{
		Subjects: w.Subjects, Applier: l, Leads: func() bool { return true },
		Ensure: w.Ensure, Clock: new(activity.Clock), AckWait: time.Hour, MaxAckPending: 4096,
		Heartbeat: 200 * time.Millisecond, Logger: natstest.Quiet,
	}
	for _, c := range change {
		c(&config)
	}
	sessions, err := command.New(nc, config)
	natstest.Check(w.T, err)
	return l, wait.Run(w.T, sessions.Run)
}
