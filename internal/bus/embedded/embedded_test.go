package embedded_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/embedded"
	"idle-scaler/test/natstest"
)

// The embedded server keeps its streams over a restart. If it can't start, the error says what to
// do.
func TestEmbedded(t *testing.T) {
	w := natstest.New(t)
	ctx, js := context.Background(), w.JetStream()
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "kept", Subjects: []string{"kept"}})
	natstest.Check(t, err)
	_, err = js.Publish(ctx, "kept", nil)
	natstest.Check(t, err)
	w.Shutdown()
	w.Start()
	if state := w.Info("kept").State; state.Msgs != 1 {
		t.Errorf("got %+v", state)
	}
	for _, row := range []struct {
		dir  string
		port int
		want string
	}{
		{"", 0, "name one by --embedded-dir"},
		{"/proc/nothing", 0, "--embedded-dir"},
		{t.TempDir(), w.Port, "--embedded-port"}, // which is taken
	} {
		_, err := embedded.Start(row.dir, row.port, natstest.Quiet)
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q, port %d: got %v, want %s", row.dir, row.port, err, row.want)
		}
	}
}
