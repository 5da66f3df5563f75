package scaler

import (
	"errors"
	"fmt"
)

// What can be wrong with a command or a request. Each is wrapped with what to do about it;
// internal/bus/answer maps them to codes on the wire.
var (
	ErrInvalid    = errors.New("invalid")     // it makes no sense, whatever the state of the server
	ErrUnmanaged  = errors.New("not managed") // the Deployment does not carry the label
	ErrUnknown    = errors.New("unknown")     // there is no such Deployment
	ErrSuperseded = errors.New("superseded")  // somebody asked for something newer meanwhile
	ErrExpired    = errors.New("expired")     // it came too late
	ErrOutOfRange = errors.New("out of range")
	ErrFailed     = errors.New("failed")            // the server will not get ready
	ErrNotInTime  = errors.New("not in time")       // the server is not ready yet
	ErrNotSynced  = errors.New("not synced")        // this replica does not know the cluster yet
	errOutdated   = fmt.Errorf("%w", ErrSuperseded) // it was applied before, in its turn
	errNotLeader  = errors.New("not the leader")    // the term has ended, or its lease is late
	errAbsent     = errors.New("absent")            // its Deployment may still appear
	errReading    = fmt.Errorf("%w: this replica is still reading the Deployments: try again in a moment", ErrNotSynced)
	errPanic      = errors.New("internal error: this is a bug in idle-scaler, and its log has the stack; " +
		"the command may have been applied or not, ask for the server's status")
)

// How a [Cluster] answers a write.
var (
	ErrConflict = errors.New("conflict") // the Deployment has another version; nothing was written
	ErrUnsure   = errors.New("unsure")   // no answer, or a transient error: perhaps it was written
	ErrRefused  = errors.New("refused")  // the API server will not do this, now or later
)

// transient reports whether a try that failed with this error may succeed later.
func transient(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrUnsure) ||
		errors.Is(err, ErrNotSynced) || errors.Is(err, errNotLeader)
}
