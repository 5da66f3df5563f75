package natsconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/wire"
)

// ErrDisconnected is why something is not sent while NATS is away.
var ErrDisconnected = errors.New("NATS is not connected")

// Unsent returns why something could not be sent. While NATS is away nats.go speaks of a full
// buffer, because Connect told it to have none.
func Unsent(err error) error {
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return ErrDisconnected
	}
	return err
}

// Options say how to reach NATS and who we are. The zero value of a field leaves it out.
type Options struct {
	URLs        []string
	CredsFile   string // a JWT and its seed, as nsc writes them
	NKeyFile    string // a seed
	User        string
	Password    string
	Token       string
	CAFile      string
	CertFile    string // of the client, with KeyFile
	KeyFile     string
	Name        string // shown in the server's list of connections
	InboxPrefix string // for accounts whose permissions tell inboxes apart; begins with _INBOX
	Retry       bool   // return at once and connect as soon as NATS can be reached, instead of failing
	Drops       *Drops // counts the messages that are dropped; nil when nobody asks
}

// Connect opens a connection that reconnects for ever, also after its credentials were refused:
// they may have been changed meanwhile. What happens to it is logged.
func Connect(o Options, logger *slog.Logger) (*nats.Conn, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	logger = logger.With("connection", o.Name)
	options := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(o.Retry),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectBufSize(-1), // what can't be sent is an error: an order that was kept until NATS is back would win against newer ones
		nats.Timeout(5 * time.Second),
		nats.PingInterval(10 * time.Second), // a connection that is black-holed is noticed within 30 seconds
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
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			logAsync(logger, sub, err)
			if errors.Is(err, nats.ErrSlowConsumer) {
				o.Drops.note(sub)
			}
		}),
	}
	with := func(set bool, option func() nats.Option) {
		if set {
			options = append(options, option())
		}
	}
	with(o.CredsFile != "", func() nats.Option { return nats.UserCredentials(o.CredsFile) })
	with(o.User != "", func() nats.Option { return nats.UserInfo(o.User, o.Password) })
	with(o.Token != "", func() nats.Option { return nats.Token(o.Token) })
	with(o.CAFile != "", func() nats.Option { return nats.RootCAs(o.CAFile) })
	with(o.CertFile != "", func() nats.Option { return nats.ClientCert(o.CertFile, o.KeyFile) })
	with(o.InboxPrefix != "", func() nats.Option { return nats.CustomInboxPrefix(o.InboxPrefix) })
	if o.NKeyFile != "" {
		nkey, err := nats.NkeyOptionFromSeed(o.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read the NKey seed: %w", err)
		}
		options = append(options, nkey)
	}
	nc, err := nats.Connect(strings.Join(o.URLs, ","), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", o.redacted(), err)
	}
	return nc, nil
}

// validate checks what would go wrong without a word, or show a password. The rest is checked where
// it is configured.
func (o Options) validate() error {
	if len(o.URLs) == 0 {
		return errors.New("connect to NATS: no URL: write one like nats://localhost:4222")
	}
	for i, text := range o.URLs {
		if _, err := url.Parse(text); err != nil || strings.ContainsAny(text, ", ") {
			return fmt.Errorf("connect to NATS: URL number %d can't be read (it is not shown, as it may hold a password)", i+1)
		}
	}
	if err := wire.CheckInboxPrefix(o.InboxPrefix); err != nil {
		return fmt.Errorf("connect to NATS: inbox prefix %q: %w", o.InboxPrefix, err)
	}
	return nil
}

// redacted is the URLs without passwords.
func (o Options) redacted() string {
	shown := make([]string, len(o.URLs))
	for i, text := range o.URLs {
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			shown[i] = u.Scheme + "://" + u.Host
		} else {
			shown[i] = text[strings.LastIndexByte(text, '@')+1:]
		}
	}
	return strings.Join(shown, ", ")
}

// logAsync logs what the server says without having been asked.
func logAsync(logger *slog.Logger, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		logger.Error("NATS does not permit what this connection needs: give its user the permissions of deploy/nats", "err", err)
	case errors.Is(err, nats.ErrSlowConsumer):
		logger.Error("messages were dropped because they came faster than they were handled", "subject", subject, "err", err)
	default:
		logger.Warn("NATS reports an error", "subject", subject, "err", err)
	}
}

// Watch returns why a connection was closed for good, as it is after an error that the library
// takes for final, like a line that NATS finds too long. Nothing opens it again: what works on it
// is dead, and looks alive. It returns nil when ctx is done, and has to be called only until Close
// is.
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
	return fmt.Errorf("the connection %q to NATS was closed for good: %w", nc.Opts.Name, cmp.Or(nc.LastError(), nats.ErrConnectionClosed))
}

// Close sends what is buffered, lets the handlers of what has arrived finish, and closes the
// connection. It returns when that is done, which nats.Conn.Drain does not, or when ctx is.
func Close(ctx context.Context, nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	if nc.IsClosed() {
		return nil
	}
	if err := nc.Drain(); err != nil { // not connected at this moment: nothing can be sent
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
