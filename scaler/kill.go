package scaler

import (
	"errors"
	"fmt"
	"time"
)

// killAfter is how long the cluster has to end the pods by itself: until it has taken note that none are
// wanted, it replaces a pod that is killed.
const killAfter = 10 * time.Second

// kill ends the pods of a stopped server once the cluster has taken note that none are wanted. It reports
// whether that is over; if not, when to try again. An error that ends it is in the outcome of the command.
func (t *term) kill(c *pending) (n next, done bool) {
	s, stopped := t.s, c.outcome.Server
	if c.killing.began.IsZero() {
		c.killing.began = s.now()
	}
	server, ok := s.cache.Get(stopped.ID)
	if !ok || server.Replicas > 0 {
		return next{}, true // it is gone; or somebody has started it meanwhile, who wants these pods
	}
	c.outcome.Server = server
	due := c.killing.began.Add(killAfter)
	if (server.Observed < stopped.Generation || server.Total > 0) && s.now().Before(due) {
		return next{at: due}, false
	}
	err := s.pods.Kill(t.ctx, stopped)
	switch {
	case err == nil || errors.Is(err, ErrUnknown):
		return next{}, true
	case t.ctx.Err() != nil:
		return next{}, false
	case passing(err) && !c.killing.over(s.now(), s.config.RetryFor):
		return next{failed: commandRest}, false
	}
	c.outcome.Err = fmt.Errorf("%s is at zero, but its pods could not be ended at once: %w", stopped.ID, err)
	return next{}, true
}
