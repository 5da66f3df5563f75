package stream_test

import (
	"context"
	"testing"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// Last asks the leader for the last message of a subject, also where the stream lets any replica
// answer.
func TestLastMessage(t *testing.T) {
	w := natstest.New(t)
	natstest.Check(t, w.Ensure(context.Background()))
	js, nc := w.JetStream(), w.Connect()
	ctx, cancel := context.WithTimeout(context.Background(), wait.Patience)
	defer cancel()
	config := w.Info(stream.Pauses.Name(w.Subjects)).Config
	config.AllowDirect = true
	_, err := js.UpdateStream(ctx, config)
	natstest.Check(t, err)
	asked, err := nc.SubscribeSync("$JS.API.DIRECT.GET.>")
	natstest.Check(t, err)
	for _, id := range []string{"1", "2"} {
		_, err := js.Publish(ctx, w.Subjects.Pause(web), []byte(id))
		natstest.Check(t, err)
	}
	for subject, want := range map[string]string{
		w.Subjects.Pause(web): "2", w.Subjects.AllPauses(): "2", w.Subjects.Pause(files): "",
	} {
		m, err := stream.Last(ctx, nc, config.Name, subject)
		if err != nil || string(m.Data) != want || (m.Sequence == 0) != (want == "") {
			t.Errorf("%s: got %+v, %v", subject, m, err)
		}
	}
	if m, err := stream.Last(ctx, nc, "NOWHERE", ">"); err == nil {
		t.Errorf("of no stream: got %+v", m)
	}
	if n, _, _ := asked.Pending(); n > 0 {
		t.Errorf("replicas were asked %d times", n)
	}
}
