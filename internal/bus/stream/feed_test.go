package stream

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
)

// A feed that misses a message ends, and hands on nothing more. Later messages would be out of
// order, or look like all that there are.
func TestFeedEndsAtGap(t *testing.T) {
	message := func(number int) *nats.Msg {
		reply := fmt.Sprintf("$JS.ACK.STREAM.consumer.1.%d.%d.1700000000000000000.0", number+100, number)
		return &nats.Msg{Sub: &nats.Subscription{}, Reply: reply}
	}
	heartbeat := func(last int) *nats.Msg {
		return &nats.Msg{Header: nats.Header{"Status": {"100"}, "Nats-Last-Consumer": {fmt.Sprint(last)}}}
	}
	for name, row := range map[string]struct {
		messages []*nats.Msg
		handled  int
		gap      bool
	}{
		"all there":             {[]*nats.Msg{heartbeat(0), message(1), message(2), heartbeat(2), message(3)}, 3, false},
		"one missing":           {[]*nats.Msg{message(1), message(3), message(4)}, 1, true},
		"the first missing":     {[]*nats.Msg{message(2), message(3)}, 0, true},
		"one twice":             {[]*nats.Msg{message(1), message(1)}, 1, true},
		"the last one missing":  {[]*nats.Msg{message(1), heartbeat(2), message(3)}, 1, true},
		"all missing, silently": {[]*nats.Msg{heartbeat(7)}, 0, true},
	} {
		handled := 0
		f := &Feed{next: 1, Done: make(chan struct{}), handle: func(*nats.Msg, Metadata) { handled++ }}
		for _, m := range row.messages {
			f.receive(m)
		}
		if handled != row.handled || errors.Is(f.err, errGap) != row.gap {
			t.Errorf("%s: handled %d, then %v; want %d, gap %v", name, handled, f.err, row.handled, row.gap)
		}
	}
}

// Both forms of the reply subject (ADR-15) are read, and no other subject is taken for one.
func TestMetadata(t *testing.T) {
	of := func(reply string) (Metadata, error) {
		return MetadataOf(&nats.Msg{Sub: &nats.Subscription{}, Reply: reply})
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
