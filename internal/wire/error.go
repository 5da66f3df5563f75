package wire

import (
	"errors"
	"fmt"
)

// Why a message is refused, whatever the state of the servers. Each is wrapped with a text that
// says what to write instead.
var (
	ErrInvalid    = errors.New("invalid")      // it makes no sense
	ErrOutOfRange = errors.New("out of range") // a number or a duration that nobody may ask for
)

// Error is an error in an answer. The same two values are in the headers of NATS micro.
type Error struct {
	Code int    `json:"code"` // see docs/wire.md
	Text string `json:"text"` // what is wrong, and what to do
}

func (e *Error) Error() string { return fmt.Sprintf("%s (code %d)", e.Text, e.Code) }

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func outOfRange(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrOutOfRange, fmt.Sprintf(format, args...))
}
