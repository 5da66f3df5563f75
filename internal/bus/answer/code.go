package answer

import (
	"errors"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// What can be wrong with a request at this moment.
var (
	ErrUnavailable = errors.New("unavailable") // the daemon can't take it now, and may take it later
	ErrBusy        = errors.New("busy")        // too many wait at once
)

// codes is the one table from errors to codes of the wire. The first row that an error matches
// counts. There is no way back: one code stands for several errors.
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

// codeOf returns the code of an error: 0 for nil, 500 for one that the table does not know.
func codeOf(err error) int {
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

// failureOf returns an error as it is on the wire. One that came over the wire stays as it was.
func failureOf(err error) *wire.Error {
	var known *wire.Error
	if errors.As(err, &known) {
		return known
	}
	return &wire.Error{Code: codeOf(err), Text: err.Error()}
}
