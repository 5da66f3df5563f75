package natsconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/wire"
)

// ErrDisconnected is the error of a send while NATS is away.
var ErrDisconnected = errors.New("NATS is not connected")

// Unsent translates the error of a send: while NATS is away nats.go reports a full buffer, because
// Connect gives it none.
func Unsent(err error) error {
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return ErrDisconnected
	}
	return err
}

// Options say how to reach NATS, and as whom. A zero field is left out.
type Options struct {
	URLs        []string
	CredsFile   string // a JWT and its seed, as nsc writes them
	NKeyFile    string // a seed
	User        string
	Password    string
	Token       string
	CAFile      string
	CertFile    string // the certificate of the client, whose key is in KeyFile
	KeyFile     string
	Name        string // in the server's list of connections
	InboxPrefix string // for an account with its own inboxes; begins with _INBOX
	Retry       bool   // return at once, and connect when NATS can be reached, instead of failing
	Drops       *Drops // counts dropped messages; may be nil
}

// Connect opens a connection that reconnects for ever, also after the server refused its
// credentials: somebody may correct them. It logs what happens to the connection.
func Connect(o Options, logger *slog.Logger) (*nats.Conn, error) {
	list := strings.Join(o.URLs, ",")
	urls, err := ParseURLs(list)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if err := wire.CheckInboxPrefix(o.InboxPrefix); err != nil {
		return nil, fmt.Errorf("connect to NATS: inbox prefix %q: %w", o.InboxPrefix, err)
	}
	logger = logger.With("connection", o.Name)
	options := []nats.Option{
		nats.Name(o.Name),
		nats.UserInfo(o.User, o.Password),
		nats.Token(o.Token),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(o.Retry),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), // a message sent after NATS is back would win against newer ones
		nats.Timeout(5 * time.Second),
		nats.PingInterval(10 * time.Second), // a network that swallows packets is noticed within 30 seconds
		nats.MaxPingsOutstanding(2),
		nats.DrainTimeout(10 * time.Second),
		nats.ConnectHandler(func(nc *nats.Conn) { logger.Info("connected to NATS", "url", nc.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { logger.Info("reconnected to NATS", "url", nc.ConnectedUrlRedacted()) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("disconnected from NATS, trying to reconnect", "err", err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { logger.Debug("cannot connect to NATS yet", "err", err) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { o.logAsync(logger, sub, err) }),
		optional(o.CredsFile, nats.UserCredentials(o.CredsFile)),
		optional(o.CAFile, nats.RootCAs(o.CAFile)),
		optional(o.CertFile, nats.ClientCert(o.CertFile, o.KeyFile)),
		optional(o.InboxPrefix, nats.CustomInboxPrefix(o.InboxPrefix)),
	}
	if o.NKeyFile != "" {
		nkey, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the NKey seed: %w", err)
		}
		options = append(options, nkey)
	}
	nc, err := nats.Connect(list, options...)
	if err != nil {
		for _, u := range urls {
			u.User = nil // it may have a password
		}
		return nil, fmt.Errorf("connect to NATS at %v: %w", urls, err)
	}
	return nc, nil
}

// optional returns an option if there is a value for it; nats.Connect skips nil.
func optional(value string, option nats.Option) nats.Option {
	if value == "" {
		return nil
	}
	return option
}

// logAsync logs an error that is not the result of a call, and counts drops.
func (o Options) logAsync(logger *slog.Logger, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		logger.Error("NATS denied a permission: give the user of this connection those of deploy/nats", "err", err)
	case errors.Is(err, nats.ErrSlowConsumer):
		logger.Error("messages were dropped because they came faster than they were handled", "subject", subject, "err", err)
		o.Drops.note(sub)
	default:
		logger.Warn("NATS reports an error", "subject", subject, "err", err)
	}
}

// Watch returns an error when a connection is closed for good, and nil when ctx is done. nats.go
// closes a connection for good after an error that it takes for final, like a line that the server
// finds too long. Nothing reconnects it, and the subscriptions on it stay silent. The caller ends
// ctx before it calls Close.
func Watch(ctx context.Context, nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	if !nc.IsClosed() {
		select {
		case <-closed:
		case <-ctx.Done():
			return nil
		}
	}
	err := cmp.Or(nc.LastError(), nats.ErrConnectionClosed)
	return fmt.Errorf("the connection %q to NATS was closed for good: %w", nc.Opts.Name, err)
}

// Close sends buffered messages, waits for the handlers of received ones, and closes the
// connection. Unlike nats.Conn.Drain it returns when all of that is done, or when ctx is.
func Close(ctx context.Context, nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	if nc.IsClosed() {
		return nil
	}
	if err := nc.Drain(); err != nil { // not connected at the moment, so nothing can be sent
		nc.Close()
		return nil
	}
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		nc.Close()
		return fmt.Errorf("close the connection to NATS: %w", ctx.Err())
	}
}
