package wire

import "testing"

// A payload that is no event is an error, not a panic.
func TestDecodeEventErrors(t *testing.T) {
	for _, payload := range []string{
		"", "x", "{}", `{"specversion":"1.0","id":"x","type":"t","source":"s","data":[1]}`, `{"specversion":"9"}`,
	} {
		if e, err := DecodeEvent([]byte(payload)); err == nil {
			t.Errorf("%s: got %+v", payload, e)
		}
	}
}
