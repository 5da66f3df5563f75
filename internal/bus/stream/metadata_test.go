package stream_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
)

// Both forms of the reply subject (ADR-15) are read, and no other subject is taken for one.
func TestMetadata(t *testing.T) {
	of := func(reply string) (stream.Metadata, error) {
		return stream.MetadataOf(&nats.Msg{Sub: &nats.Subscription{}, Reply: reply})
	}
	for _, reply := range []string{
		"$JS.ACK.STREAM.consumer.1.17.4.1700000000000000000.3",
		"$JS.ACK._.hash.STREAM.consumer.1.17.4.1700000000000000000.3",
		"$JS.ACK.hub.hash.STREAM.consumer.1.17.4.1700000000000000000.3.random",
	} {
		p, err := of(reply)
		if err != nil || p.Sequence != 17 || p.Consumer != 4 || p.Pending != 3 || p.Time.Unix() != 1700000000 {
			t.Errorf("%s: got %+v %v", reply, p, err)
		}
	}
	for _, reply := range []string{"", "_INBOX.x", "$JS.FC.STREAM.consumer.x", "$JS.ACK.STREAM.consumer", "$JS.ACK."} {
		if p, err := of(reply); err == nil {
			t.Errorf("%q is taken for the place of a message: %+v", reply, p)
		}
	}
}

// The streams are named after the prefix.
func TestName(t *testing.T) {
	s, err := wire.NewSubjects("one.Two_3-x")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.Commands.Name(s); got != "ONE_TWO_3-X_COMMANDS" {
		t.Errorf("got %s", got)
	}
}
