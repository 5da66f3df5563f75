package scaler

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// killAfter is how long the cluster has to end the pods by itself. A pod that is killed before the
// cluster knows that none are wanted would be replaced.
const killAfter = 10 * time.Second

// kill ends the pods of a stopped server once the cluster knows that none are wanted. It reports
// whether that is over; if not, the result says when to try again. An error that ends it is in the
// outcome.
func (t *term) kill(c *pending) (r result, done bool) {
	s, stopped := t.s, c.outcome.Server
	if c.killing.IsZero() {
		c.killing = s.now()
	}
	server, ok := s.cache.Get(stopped.ID)
	if !ok || server.Replicas > 0 {
		return result{}, true // it is gone; or somebody has started it meanwhile, and wants these pods
	}
	c.outcome.Server = server
	due := c.killing.Add(killAfter)
	if (server.Observed < stopped.Generation || server.Total > 0) && s.now().Before(due) {
		return requeueAt(due, byCommand), false
	}
	ctx, cancel := context.WithTimeout(t.ctx, s.config.RetryFor) // so that a slow webhook does not hold the worker
	defer cancel()
	err := s.pods.Kill(ctx, stopped)
	switch {
	case err == nil || errors.Is(err, ErrUnknown):
		return result{}, true
	case t.ctx.Err() != nil:
		return result{}, false
	case transient(err) && s.now().Before(c.killing.Add(s.config.RetryFor)):
		return retry(commandBackoff, byCommand), false
	}
	c.outcome.Err = fmt.Errorf("%s is at zero, but its pods could not be ended at once: %w", stopped.ID, err)
	return result{}, true
}
