package api

import (
	"encoding/json"
	"testing"

	"idle-scaler/test/natstest"
)

// What fits, element by element, is never longer as a list, commas included.
func TestRoom(t *testing.T) {
	for size := range 40 {
		free, list := room(size), []string{}
		for {
			element, err := json.Marshal("abc")
			natstest.Check(t, err)
			if !free.take(element) {
				break
			}
			list = append(list, "abc")
		}
		text, err := json.Marshal(list)
		natstest.Check(t, err)
		if inside := len(text) - len("[]"); inside > size || size-inside > len(`"abc",`) {
			t.Errorf("of %d bytes %d were taken", size, inside)
		}
	}
	full := room(3)
	if full.take([]byte(`"abc"`)) || full.take([]byte("1")) {
		t.Error("there was room after the first that did not fit")
	}
}
