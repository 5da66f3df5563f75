package bus

import (
	"strings"
	"time"
)

// place is where a message stands: in its stream, and among what its consumer has sent.
type place struct {
	stream   uint64 // its sequence in the stream
	consumer uint64 // its sequence among what the consumer sent
	pending  uint64 // how many more there were for the consumer when it was sent
	at       time.Time
}

// parsePlace reads the reply subject of a message from a consumer; ok is false when it is none. It has one of two forms (ADR-15):
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>[.<random>]
func parsePlace(reply string) (p place, ok bool) {
	rest, ok := strings.CutPrefix(reply, "$JS.ACK.")
	if !ok {
		return place{}, false
	}
	skip := 5 // what stands before the stream's sequence
	if strings.Count(rest, ".") == 6 {
		skip = 3
	}
	for range skip {
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return place{}, false
		}
	}
	var numbers [4]uint64
	for i := range numbers {
		var token string
		token, rest, _ = strings.Cut(rest, ".")
		if numbers[i] = number(token); token == "" {
			return place{}, false
		}
	}
	return place{stream: numbers[0], consumer: numbers[1], at: time.Unix(0, int64(numbers[2])), pending: numbers[3]}, true
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
