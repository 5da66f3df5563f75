package answer

import (
	"errors"
	"testing"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// One table says what an error is called on the wire.
func TestCodes(t *testing.T) {
	for err, code := range map[error]int{
		nil: 0, scaler.ErrInvalid: 400, scaler.ErrUnmanaged: 403, scaler.ErrUnknown: 404, scaler.ErrSuperseded: 409, scaler.ErrConflict: 409,
		scaler.ErrExpired: 410, scaler.ErrOutOfRange: 422, scaler.ErrNotSynced: 503, scaler.ErrFailed: 503, scaler.ErrNotInTime: 504,
		scaler.ErrUnsure: 503, ErrBusy: 503, ErrUnavailable: 503, scaler.ErrRefused: 500,
		wire.ErrInvalid: 400, wire.ErrOutOfRange: 422, errors.New("anything else"): 500,
	} {
		if got := codeOf(err); got != code {
			t.Errorf("%v: got %d, want %d", err, got, code)
		}
	}
}
