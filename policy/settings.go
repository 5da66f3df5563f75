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

// MaxIdleAfter is the longest idle-after. The activity log forgets after 32 days; silence beyond that proves nothing.
const MaxIdleAfter = 30 * 24 * time.Hour

// Settings say how one server is to be treated.
type Settings struct {
	IdleAfter      time.Duration // how long unused before it sleeps; Never
	WakeReplicas   int           // replicas to wake with when none are remembered; at least 1
	MaxReplicas    int           // the most a scale command may ask for; at least 1
	WakeOnActivity bool          // a ping or a lease wakes it
	Paused         bool          // the daemon does not put it to sleep by itself
}

// Defaults are the settings of a server that says nothing, but for IdleAfter, which the daemon's configuration gives.
func Defaults(idleAfter time.Duration) Settings {
	return Settings{IdleAfter: idleAfter, WakeReplicas: 1, MaxReplicas: 10, WakeOnActivity: true}
}

// Keys are the settings that Parse knows.
var Keys = []string{"idle-after", "max-replicas", "paused", "wake-on-activity", "wake-replicas"}

// Parse returns the defaults overridden by what is written on one server, by key. An unknown key is an error as a bad
// value is: a misspelt "idle-after: never" must not let the server sleep. All errors are returned, joined, in order of key.
// On error the Settings are those of the keys that could be read.
func Parse(written map[string]string, defaults Settings) (Settings, error) {
	s := defaults
	var errs []error
	keys := make([]string, 0, len(written))
	for key := range written {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		var err error
		switch text := strings.TrimSpace(written[key]); key {
		case "idle-after":
			err = set(&s.IdleAfter, text, ParseIdleAfter)
		case "wake-replicas":
			err = set(&s.WakeReplicas, text, parseReplicas)
		case "max-replicas":
			err = set(&s.MaxReplicas, text, parseReplicas)
		case "wake-on-activity":
			err = set(&s.WakeOnActivity, text, parseBool)
		case "paused":
			err = set(&s.Paused, text, parseBool)
		default:
			err = fmt.Errorf("unknown setting; known are %s", strings.Join(Keys, ", "))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", key, written[key], err))
		}
	}
	if len(errs) == 0 && s.WakeReplicas > s.MaxReplicas {
		errs = append(errs, fmt.Errorf("wake-replicas %d is above max-replicas %d: raise max-replicas", s.WakeReplicas, s.MaxReplicas))
	}
	return s, errors.Join(errs...)
}

func set[T any](to *T, text string, parse func(string) (T, error)) error {
	value, err := parse(text)
	if err == nil {
		*to = value
	}
	return err
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

func parseReplicas(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 {
		return 0, errors.New("not a whole number of at least 1")
	}
	return int(n), nil
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New(`neither "true" nor "false"`)
}
