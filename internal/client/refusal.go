package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/wire"
)

// refusals ends the waiting of those to whom NATS does not permit what they do. NATS says so on the
// connection and not in an answer: they would wait for one in vain.
type refusals struct {
	mu      sync.Mutex
	waiting map[*waiting]bool
}

type waiting struct {
	subject string
	end     context.CancelCauseFunc
}

// of watches a connection. Whoever was told of its errors before still is.
func (r *refusals) of(nc *nats.Conn) {
	before := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			r.tell(err.Error())
		}
		if before != nil {
			before(nc, sub, err)
		}
	})
}

// until returns a context that ends with ErrNotPermitted when NATS refuses the subject, or the
// inbox of the answer.
func (r *refusals) until(ctx context.Context, subject string) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	w := &waiting{subject, end}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[w] = true
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, w)
		end(nil)
	}
}

// tell ends those whom a refusal is about. It names the subject in quotes, which is all there is to
// know it by.
func (r *refusals) tell(refusal string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.waiting {
		switch {
		case strings.Contains(refusal, strconv.Quote(w.subject)):
			w.end(fmt.Errorf("%w the subject %q: name a namespace of yours, or ask who runs NATS for the rights of a team in deploy/nats", ErrNotPermitted, w.subject))
		case strings.Contains(refusal, `Subscription to "`+wire.InboxPrefix):
			w.end(fmt.Errorf("%w the inbox of the answer: set the inbox prefix that its team has (--nats-inbox-prefix), as in deploy/nats", ErrNotPermitted))
		}
	}
}
