package bus

import (
	"errors"
	"fmt"

	"idle-scaler/scaler"
)

// codes is the one table of what an error of the domain is called on the wire. The first row that an error matches counts. There is no way back:
// one code stands for several errors.
var codes = []struct {
	err  error
	code int
}{
	{scaler.ErrInvalid, 400},
	{scaler.ErrUnmanaged, 403},
	{scaler.ErrUnknown, 404},
	{scaler.ErrSuperseded, 409},
	{scaler.ErrConflict, 409},
	{scaler.ErrExpired, 410},
	{scaler.ErrOutOfRange, 422},
	{scaler.ErrNotInTime, 504},
	{scaler.ErrFailed, 503},
	{scaler.ErrNotSynced, 503},
	{scaler.ErrBusy, 503},
	{errUnavailable, 503},
	{scaler.ErrUnsure, 503},
	{scaler.ErrRefused, 500},
}

// errUnavailable is that of a request which can't be taken now, and may be later.
var errUnavailable = errors.New("unavailable")

// Code returns what err is called on the wire: 0 for nil, 500 for one that the table does not know.
func Code(err error) int {
	if err == nil {
		return 0
	}
	for _, row := range codes {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	return 500
}

// CodeError is an error that came over the wire.
type CodeError struct {
	Code int
	Text string
}

func (e *CodeError) Error() string { return fmt.Sprintf("%s (code %d)", e.Text, e.Code) }
