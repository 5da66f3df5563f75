package stream

import "time"

// Behind is how far the clock that read server is behind ours, which read before and after. What
// the way there and back may account for is not a difference.
func Behind(before, after, server time.Time) time.Duration {
	if server.IsZero() {
		return 0
	}
	way := after.Sub(before) / 2
	difference := before.Add(way).Sub(server)
	if difference.Abs() <= way {
		return 0
	}
	return difference
}
