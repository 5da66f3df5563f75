package ops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is something that this process needs to do its work.
type Check struct {
	Name    string
	Missing func() string // what is missing; empty when nothing is
}

// Handler serves /healthz (the process is alive), /readyz (code 503 while a check fails, and the
// state of each) and /metrics, and with profiles also /debug/pprof/.
func Handler(m *Metrics, checks []Check, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		lines, code := "", http.StatusOK
		for _, c := range checks {
			state := "ok"
			if missing := c.Missing(); missing != "" {
				state, code = missing, http.StatusServiceUnavailable
			}
			lines += fmt.Sprintf("%s: %s\n", c.Name, state)
		}
		w.WriteHeader(code)
		fmt.Fprint(w, lines)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.Registry, promhttp.HandlerOpts{}))
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	}
	return mux
}

// Serve answers on a listener until ctx is done.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve http on %s: %w", listener.Addr(), err)
	}
	return nil
}
