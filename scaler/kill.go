package scaler

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// killAfter is how long the cluster is given to end the pods by itself: until then, to kill a pod is to have it replaced.
const killAfter = 10 * time.Second

// kill ends the pods of a stopped server once the cluster has taken note that none are wanted.
func (t *term) kill(server *Server) error {
	ctx, cancel := context.WithTimeout(t.ctx, t.s.config.RetryFor)
	defer cancel()
	noted, stop := context.WithTimeout(ctx, killAfter)
	_, _ = t.s.watch(noted, server.ID, func(now *Server) bool {
		return now.Replicas > 0 || now.Observed >= server.Generation && now.Total == 0
	})
	stop()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if now, ok := t.s.cache.Get(server.ID); ok && now.Replicas > 0 {
			return nil // somebody has started it meanwhile: these are the pods that they want
		}
		err := t.killOnce(ctx, server)
		switch {
		case err == nil || errors.Is(err, ErrUnknown):
			return nil
		case t.ctx.Err() != nil:
			return errNotLeader
		case errors.Is(err, ErrRefused) || !t.s.pause(ctx, server.ID, pause, false):
			return fmt.Errorf("%s is at zero, but its pods could not be ended at once: %w", server.ID, err)
		}
	}
}

func (t *term) killOnce(ctx context.Context, server *Server) error {
	if !acquire(ctx, t.s.inFlight) {
		return ctx.Err()
	}
	defer release(t.s.inFlight)
	return t.s.pods.Kill(ctx, server)
}
