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

// denials ends requests that NATS denies. NATS reports a denial on the connection and not in an
// answer, so without this a denied request would wait until its deadline.
type denials struct {
	pending sync.Map // of *pending
}

// pending is a request without an answer yet.
type pending struct {
	subject string
	end     context.CancelCauseFunc
}

// watchDenials wraps the error handler of a connection.
func watchDenials(nc *nats.Conn) *denials {
	d := new(denials)
	before := nc.ErrorHandler()
	nc.SetErrorHandler(func(nc *nats.Conn, sub *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			d.deny(err.Error())
		}
		if before != nil {
			before(nc, sub, err)
		}
	})
	return d
}

// expect returns a context that ends with ErrNotPermitted when NATS denies the subject, or the
// inbox of the answer.
func (d *denials) expect(ctx context.Context, subject string) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	p := &pending{subject, end}
	d.pending.Store(p, nil)
	return ctx, func() {
		d.pending.Delete(p)
		end(nil)
	}
}

// deny ends the requests that an error is about. Only its text names the subject, in quotes.
func (d *denials) deny(text string) {
	for key := range d.pending.Range {
		switch p := key.(*pending); {
		case strings.Contains(text, strconv.Quote(p.subject)):
			p.end(fmt.Errorf("%w the subject %q: name a namespace of yours, or ask the administrator of NATS "+
				"for the permissions of a team in deploy/nats", ErrNotPermitted, p.subject))
		case strings.Contains(text, `Subscription to "`+wire.InboxPrefix):
			p.end(fmt.Errorf("%w the inbox of the answer: set the inbox prefix of its team (--nats-inbox-prefix), "+
				"as in deploy/nats", ErrNotPermitted))
		}
	}
}
