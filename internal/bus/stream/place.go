package stream

import (
	"strings"
	"time"

	"idle-scaler/activity"
)

// Metadata is where a message stands in its stream, and among what its consumer has sent.
type Metadata struct {
	Sequence uint64    // in the stream
	Time     time.Time // at which the stream took it, by the clock of the stream's leader
	Consumer uint64    // its sequence among what the consumer sent
	Pending  uint64    // how many more there were for the consumer when it was sent
}

// Stamp is the identity of the message in its stream.
func (p Metadata) Stamp() activity.Stamp { return activity.Stamp{Sequence: p.Sequence, Time: p.Time} }

// ParseMetadata reads the reply subject of a message from a consumer; ok is false when it is none. It
// has one of two forms (ADR-15):
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<random>]
func ParseMetadata(reply string) (p Metadata, ok bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return Metadata{}, false
	}
	skip := 5 // what stands before the stream's sequence
	if strings.Count(rest, ".") == 6 {
		skip = 3
	}
	for range skip {
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return Metadata{}, false
		}
	}
	var numbers [4]uint64
	for i := range numbers {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		if numbers[i] = number(token); token == "" {
			return Metadata{}, false
		}
	}
	return Metadata{
		Sequence: numbers[0], Consumer: numbers[1], Time: time.Unix(0, int64(numbers[2])), Pending: numbers[3],
	}, true
}

// number reads a number that the server wrote.
func number(digits string) (n uint64) {
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return 0
		}
		n = 10*n + uint64(digits[i]-'0')
	}
	return n
}
