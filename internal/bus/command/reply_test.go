package command_test

import (
	"testing"

	"idle-scaler/internal/bus/command"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// Messages that nobody expects delay no answer. A leader to which a command was redelivered answers
// again, and anybody may publish to an inbox.
func TestRepliesThatNobodyTakes(t *testing.T) {
	w := natstest.New(t)
	nc, leader := w.Connect(), w.Connect()
	replies, err := command.NewReplies(nc)
	natstest.Check(t, err)
	defer replies.Close()
	twice, first, _ := replies.Expect()
	gone, _, forget := replies.Expect()
	forget()
	other, result, forget := replies.Expect()
	defer forget()
	natstest.Check(t, nc.Flush())
	for _, inbox := range []string{twice, twice, gone, other, other} {
		for _, payload := range []string{
			`no JSON`, `{}`, `{"stream":"S","seq":7}`, `{"command":{"sequence":3},"version":"7","wanted":true}`,
		} {
			natstest.Check(t, leader.Publish(inbox, []byte(payload)))
		}
	}
	for _, answers := range []<-chan command.Result{result, first} {
		if got := wait.For(t, "an answer", answers); got.Version != "7" || !got.Wanted {
			t.Errorf("got %+v", got)
		}
	}
}
