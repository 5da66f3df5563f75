package answer

import (
	"errors"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// Why the daemon does not take a request now.
var (
	ErrUnavailable = errors.New("unavailable") // the sender may try again
	ErrBusy        = errors.New("busy")        // too many requests wait
)

// codes is the one table from errors to codes of the wire. The first row that an error matches
// counts. One code stands for several errors.
var codes = []struct {
	err  error
	code int
}{
	{wire.ErrInvalid, 400},
	{scaler.ErrInvalid, 400},
	{scaler.ErrUnmanaged, 403},
	{scaler.ErrUnknown, 404},
	{scaler.ErrSuperseded, 409},
	{scaler.ErrConflict, 409},
	{scaler.ErrExpired, 410},
	{wire.ErrOutOfRange, 422},
	{scaler.ErrOutOfRange, 422},
	{scaler.ErrNotInTime, 504},
	{scaler.ErrFailed, 503},
	{scaler.ErrNotSynced, 503},
	{ErrBusy, 503},
	{ErrUnavailable, 503},
	{scaler.ErrUnsure, 503},
	{scaler.ErrRefused, 500},
}

// failureOf returns an error as it is on the wire. One that came over the wire stays as it was. The
// code of an error that the table does not know is 500.
func failureOf(err error) *wire.Error {
	if known, ok := errors.AsType[*wire.Error](err); ok {
		return known
	}
	for _, row := range codes {
		if errors.Is(err, row.err) {
			return &wire.Error{Code: row.code, Text: err.Error()}
		}
	}
	return &wire.Error{Code: 500, Text: err.Error()}
}
