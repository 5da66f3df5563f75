package answer

import (
	"errors"
	"fmt"
	"testing"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// Each error has its code on the wire, also when it is wrapped.
func TestCodes(t *testing.T) {
	for err, code := range map[error]int{
		scaler.ErrInvalid: 400, scaler.ErrUnmanaged: 403, scaler.ErrUnknown: 404, scaler.ErrSuperseded: 409,
		scaler.ErrConflict: 409, scaler.ErrExpired: 410, scaler.ErrOutOfRange: 422,
		scaler.ErrNotSynced: 503, scaler.ErrFailed: 503, scaler.ErrNotInTime: 504,
		scaler.ErrUnsure: 503, ErrBusy: 503, ErrUnavailable: 503, scaler.ErrRefused: 500,
		wire.ErrInvalid: 400, wire.ErrOutOfRange: 422, errors.New("anything else"): 500,
	} {
		if got := failureOf(fmt.Errorf("%w: no", err)); got.Code != code || got.Text != err.Error()+": no" {
			t.Errorf("%v: got %+v, want %d", err, got, code)
		}
	}
}
