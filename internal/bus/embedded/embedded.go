// Package embedded runs a NATS server with JetStream inside this process: for a first try, for
// tests, and for a cluster that has no NATS.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Server is a NATS server in this process.
type Server struct{ server *server.Server }

// startTimeout is how long the server may take to accept connections. It reads its streams first.
const startTimeout = 30 * time.Second

// Start starts a server that listens on the loopback interface only and keeps its streams in dir.
// Port 0 takes a free one.
func Start(dir string, port int, logger *slog.Logger) (*Server, error) {
	if dir == "" {
		return nil, errors.New("embedded NATS: no data directory: " +
			"name one by --embedded-dir, or everything is lost at the next start")
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "idle-scaler",
		Host:       "127.0.0.1",
		Port:       port,
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: true, // nobody else has a copy
		NoSigs:     true, // the daemon decides when to end
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	log := serverLog{logger, make(chan string, 1)}
	s.SetLoggerV2(log, false, false, false)
	go s.Start()
	ready := make(chan bool, 1)
	go func() { ready <- s.ReadyForConnections(startTimeout) }()
	select {
	case why := <-log.fatal: // a NATS server in a process of its own exits here
		err = fmt.Errorf("embedded NATS: %s: --embedded-dir (%s) must be a directory that can be written, "+
			"and --embedded-port a port that is free", why, dir)
	case ok := <-ready:
		if ok {
			return &Server{s}, nil
		}
		err = fmt.Errorf("embedded NATS does not accept connections after %s: start it again "+
			"if the streams in --embedded-dir (%s) are large, else choose another --embedded-port", startTimeout, dir)
	}
	(&Server{s}).Shutdown()
	return nil, err
}

// URL is where clients connect.
func (e *Server) URL() string { return e.server.ClientURL() }

// Shutdown ends the server, and returns when it has ended.
func (e *Server) Shutdown() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

// serverLog writes the log of the server into that of the daemon.
type serverLog struct {
	logger *slog.Logger
	fatal  chan string // why the server can't go on
}

func (serverLog) Debugf(string, ...any) {}
func (serverLog) Tracef(string, ...any) {}
func (l serverLog) Noticef(format string, v ...any) {
	l.logger.Debug("nats: " + fmt.Sprintf(format, v...))
}

func (l serverLog) Warnf(format string, v ...any) {
	l.logger.Warn("nats: " + fmt.Sprintf(format, v...))
}

func (l serverLog) Errorf(format string, v ...any) {
	l.logger.Error("nats: " + fmt.Sprintf(format, v...))
}

func (l serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
}
