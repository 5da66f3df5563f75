package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Never as Settings.IdleAfter: silence never puts this server to sleep.
const Never time.Duration = 0

// MaxIdleAfter is the longest idle-after. The activity log forgets after 32 days; silence beyond
// that proves nothing.
const MaxIdleAfter = 30 * 24 * time.Hour

// maxNotice is the longest sleep-notice. A gateway that needs longer to close its sessions holds a
// lease.
const maxNotice = time.Hour

// Settings say how one server is to be treated. Each field but the last belongs to a row of
// [Table].
type Settings struct {
	IdleAfter      time.Duration  // how long unused before it sleeps; Never
	KeepWarm       Windows        // in them it is awake
	SleepAt        Times          // at them it sleeps, unless it is in use
	TimeZone       *time.Location // of those two, and of holds; never nil once they are read
	SleepNotice    time.Duration  // how long before it sleeps an event says so; 0: none does
	WakeReplicas   int            // replicas to wake with when none are remembered; at least 1
	MaxReplicas    int            // the most a scale command may ask for; at least 1
	WakeOnActivity bool           // a ping or a lease wakes it
	Paused         bool           // the daemon does not put it to sleep by itself
	DryRun         bool           // the daemon only says when it would put it to sleep
	Group          string         // servers of one group in one namespace sleep and wake together; empty: none
	After          []string       // servers of the group that have to be ready before this one wakes

	// Digest differs between what is written differently, whatever it means. Empty when nothing is
	// written.
	Digest string
}

// contradiction returns what is wrong with settings that are each right alone.
func (s *Settings) contradiction(sources map[string]Source) error {
	if s.WakeReplicas > s.MaxReplicas {
		return fmt.Errorf("wake-replicas %d%s is above max-replicas %d%s: raise max-replicas",
			s.WakeReplicas, sources["wake-replicas"].written(), s.MaxReplicas, sources["max-replicas"].written())
	}
	if len(s.After) > 0 && s.Group == "" {
		return errors.New("after needs a group: write the same group on this server and on those that it comes after")
	}
	return nil
}

// ParseIdleAfter reads a duration of 1s to MaxIdleAfter, or "never".
func ParseIdleAfter(text string) (time.Duration, error) {
	if text == "never" {
		return Never, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, errors.New(`not a duration: write it like "30m", "1h30m" or "never"`)
	case d < time.Second:
		return 0, errors.New(`shorter than 1s: write at least "1s", or "never"`)
	case d > MaxIdleAfter:
		return 0, errors.New(`longer than 720h, which the activity log can't prove: write at most "720h", or "never"`)
	}
	return d, nil
}

// ParseTimeZone reads the name of a time zone of the IANA database.
func ParseTimeZone(text string) (*time.Location, error) {
	if text == "" || text == "Local" { // would be UTC, and the zone of the machine
		return nil, errors.New(`names no time zone: write one like "Europe/Rome"`)
	}
	zone, err := time.LoadLocation(text)
	if err != nil {
		return nil, fmt.Errorf(`%w: write one like "Europe/Rome"`, err)
	}
	return zone, nil
}

func parseNotice(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxNotice {
		return 0, fmt.Errorf(`not a duration of at most %s: write it like "30s"`, FormatDuration(maxNotice))
	}
	return d, nil
}

func parseReplicas(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return 0, errors.New("not a whole number of at least 1")
	}
	return int(n), nil
}

func parseBool(text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, errors.New(`neither "true" nor "false"`)
	}
	return text == "true", nil
}

// maxName is the longest name of a group.
const maxName = 63

func parseGroup(text string) (string, error) {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	if text == "" || len(text) > maxName || strings.Trim(text, allowed) != "" {
		return "", fmt.Errorf("not a name: use at most %d letters, digits, %q, %q and %q", maxName, "-", "_", ".")
	}
	return text, nil
}

func parseAfter(text string) ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			return nil, errors.New(`an empty name: write names of servers of the same group, like "db, cache"`)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}
