package stream_test

import (
	"testing"

	"idle-scaler/internal/bus/stream"
	"idle-scaler/internal/wire"
)

// Both forms of the reply subject are read, and nothing else is taken for one.
func TestParsePlace(t *testing.T) {
	for _, reply := range []string{
		"$JS.ACK.STREAM.consumer.1.17.4.1700000000000000000.3",
		"$JS.ACK._.hash.STREAM.consumer.1.17.4.1700000000000000000.3",
		"$JS.ACK.hub.hash.STREAM.consumer.1.17.4.1700000000000000000.3.random",
	} {
		p, ok := stream.ParseMetadata(reply)
		if !ok || p.Sequence != 17 || p.Consumer != 4 || p.Pending != 3 || p.Time.Unix() != 1700000000 {
			t.Errorf("%s: got %+v %v", reply, p, ok)
		}
	}
	for _, reply := range []string{"", "_INBOX.x", "$JS.FC.STREAM.consumer.x", "$JS.ACK.STREAM.consumer", "$JS.ACK."} {
		if _, ok := stream.ParseMetadata(reply); ok {
			t.Errorf("%q is taken for the place of a message", reply)
		}
	}
}

// A message costs no memory of ours.
func TestParsePlaceDoesNotAllocate(t *testing.T) {
	reply := "$JS.ACK.CORTEX_MCP_ACTIVITY.idle-scaler-x.1.17.4.1700000000000000000.3"
	if n := testing.AllocsPerRun(100, func() { stream.ParseMetadata(reply) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Nothing makes the parser panic.
func FuzzParsePlace(f *testing.F) {
	f.Add("$JS.ACK.STREAM.consumer.1.17.4.1700000000000000000.3")
	f.Add("$JS.ACK.hub.hash.STREAM.consumer.1.17.4.1700000000000000000.3.random")
	f.Fuzz(func(_ *testing.T, reply string) { stream.ParseMetadata(reply) })
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
