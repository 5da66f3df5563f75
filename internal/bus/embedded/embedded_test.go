package embedded_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"idle-scaler/internal/bus/embedded"
	"idle-scaler/test/natstest"
)

// The embedded server keeps what it was given over a restart, and says why it can't start.
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
	if _, err := embedded.Start("", 0, natstest.Quiet); err == nil || !strings.Contains(err.Error(), "name one by --embedded-dir") {
		t.Errorf("without a directory: %v", err)
	}
	if _, err := embedded.Start("/proc/nothing", 0, natstest.Quiet); err == nil || !strings.Contains(err.Error(), "--embedded-dir") {
		t.Errorf("with a directory that can't be written: %v", err)
	}
	if _, err := embedded.Start(t.TempDir(), w.Port, natstest.Quiet); err == nil || !strings.Contains(err.Error(), "--embedded-port") {
		t.Errorf("on a port that is taken: %v", err)
	}
}
