package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Setting is one row of [Table].
type Setting struct {
	Key   string
	Where []Source // where it may be written

	// Default holds where nothing is written. Its type is that of the flag; "" is nothing.
	Default any

	Common   bool     // status says it even where it is not written
	Usage    string   // of its flag, if it is one
	Meaning  string   // for the documentation, in Markdown
	Examples []string // of what may be written

	// Value returns a string, an int, a bool, a [time.Duration] or a []string.
	Value func(*Settings) any

	parse func(s *Settings, text string) error // may leave anything in s when it returns an error
}

// Where a setting may be written.
var (
	anywhere    = []Source{FromServer, FromNamespace, FromConfig}
	inKube      = []Source{FromServer, FromNamespace}
	onOneServer = []Source{FromServer}
)

// Table has all settings, in the order in which the documentation and status show them. A new
// setting is a row here, a field of [Settings] and its use in [Rules.Decide]: the annotation, the
// flag, the answer to status and the tables of the documentation come from the row.
var Table = []Setting{
	{
		Key: "idle-after", Where: anywhere, Default: "30m", Common: true, Examples: []string{"1h30m", "never"},
		Usage:   `how long a server is unused before it sleeps, or "never"`,
		Meaning: "how long nobody uses it before it sleeps, `1s` to `720h`; `never`: silence never puts it to sleep",
		Value: func(s *Settings) any {
			if s.IdleAfter == Never {
				return "never"
			}
			return s.IdleAfter
		},
		parse: func(s *Settings, text string) (err error) { s.IdleAfter, err = ParseIdleAfter(text); return err },
	},
	{
		Key: "keep-warm", Where: anywhere, Default: "",
		Usage: "when servers are kept awake: cron expressions, each with how long, " +
			`like "0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h"`,
		Meaning: "windows in which it is awake, and for which it wakes: cron expressions, each with a length; " +
			"several are separated by `;`; or `none`",
		Examples: []string{"0 9 * * MON-FRI for 9h", "0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h"},
		Value:    func(s *Settings) any { return s.KeepWarm.String() },
		parse: func(s *Settings, text string) (err error) {
			s.KeepWarm, err = ParseWindows(text, s.TimeZone)
			return err
		},
	},
	{
		Key: "sleep-at", Where: anywhere, Default: "", Examples: []string{"0 22 * * *", "0 22 * * *; 0 14 * * SAT"},
		Usage: `when servers sleep that were not used since: cron expressions, like "0 22 * * *"`,
		Meaning: "times at which it sleeps although `idle-after` is not over, unless it is used afterwards: " +
			"cron expressions; several are separated by `;`; or `none`",
		Value: func(s *Settings) any { return s.SleepAt.String() },
		parse: func(s *Settings, text string) (err error) { s.SleepAt, err = ParseTimes(text, s.TimeZone); return err },
	},
	{
		Key: zoneKey, Where: anywhere, Default: "", Examples: []string{"Europe/Rome", "UTC"},
		Usage:   `the zone of keep-warm and sleep-at, and of holds, like "Europe/Rome"; default UTC`,
		Meaning: "the zone of `keep-warm`, of `sleep-at` and of holds, by its IANA name",
		Value:   func(s *Settings) any { return s.TimeZone.String() },
		parse:   func(s *Settings, text string) (err error) { s.TimeZone, err = ParseTimeZone(text); return err },
	},
	{
		Key: "sleep-notice", Where: anywhere, Default: time.Duration(0), Examples: []string{"30s", "1h"},
		Usage: "how long before a server sleeps an event says so, so that a ping or a lease can prevent it; 0: no event",
		Meaning: "how long before it sleeps a `sleeping-soon` event says so, at most `1h`; " +
			"a ping or a lease in that time prevents the sleep; `0s`: no event",
		Value: func(s *Settings) any { return s.SleepNotice },
		parse: func(s *Settings, text string) (err error) { s.SleepNotice, err = parseNotice(text); return err },
	},
	{
		Key: "wake-replicas", Where: anywhere, Default: 1, Common: true, Examples: []string{"3"},
		Usage:   "replicas to wake with when none are remembered",
		Meaning: "replicas to wake with if none are remembered",
		Value:   func(s *Settings) any { return s.WakeReplicas },
		parse:   func(s *Settings, text string) (err error) { s.WakeReplicas, err = parseReplicas(text); return err },
	},
	{
		Key: "max-replicas", Where: anywhere, Default: 10, Common: true, Examples: []string{"20", "1"},
		Usage:   "the most that a scale command may ask for",
		Meaning: "the most that a `scale` command may ask for",
		Value:   func(s *Settings) any { return s.MaxReplicas },
		parse:   func(s *Settings, text string) (err error) { s.MaxReplicas, err = parseReplicas(text); return err },
	},
	{
		Key: "wake-on-activity", Where: anywhere, Default: true, Common: true, Examples: []string{"false", "true"},
		Usage:   "a ping or a lease wakes a server",
		Meaning: "a ping or a lease wakes it; `false`: only commands, `keep-warm` and its group do",
		Value:   func(s *Settings) any { return s.WakeOnActivity },
		parse:   func(s *Settings, text string) (err error) { s.WakeOnActivity, err = parseBool(text); return err },
	},
	{
		Key: "paused", Where: inKube, Default: false, Common: true, Examples: []string{"true", "false"},
		Meaning: "no automatic sleep; it still wakes",
		Value:   func(s *Settings) any { return s.Paused },
		parse:   func(s *Settings, text string) (err error) { s.Paused, err = parseBool(text); return err },
	},
	{
		Key: "dry-run", Where: anywhere, Default: false, Examples: []string{"true", "false"},
		Usage:   "put nothing to sleep by itself, only publish what would sleep; commands and wakes go on",
		Meaning: "no automatic sleep; an event says when it would sleep",
		Value:   func(s *Settings) any { return s.DryRun },
		parse:   func(s *Settings, text string) (err error) { s.DryRun, err = parseBool(text); return err },
	},
	{
		Key: "group", Where: onOneServer, Default: "", Examples: []string{"bots", "web-1"},
		Meaning: "a name: the servers of one group in a namespace sleep when all are idle, and wake together",
		Value:   func(s *Settings) any { return s.Group },
		parse:   func(s *Settings, text string) (err error) { s.Group, err = parseGroup(text); return err },
	},
	{
		Key: "after", Where: onOneServer, Default: "", Examples: []string{"db", "db, cache"},
		Meaning: "servers of its group that must be ready before it wakes; they sleep after it",
		Value:   func(s *Settings) any { return s.After },
		parse:   func(s *Settings, text string) (err error) { s.After, err = parseAfter(text); return err },
	},
}

// zoneKey is read before all others, because windows are read in that zone.
const zoneKey = "time-zone"

// In reports whether the setting may be written in a place.
func (row *Setting) In(place Source) bool { return slices.Contains(row.Where, place) }

// Text returns the value as it could be written, "none" where there is none.
func (row *Setting) Text(s *Settings) string {
	value := row.Value(s)
	text := fmt.Sprint(value)
	switch value := value.(type) {
	case time.Duration:
		text = FormatDuration(value)
	case []string:
		text = strings.Join(value, ", ")
	}
	return cmp.Or(text, none)
}

// FormatDuration is a duration in whole seconds, without the zeros that time.Duration has at its
// end: 30m, not 30m0s.
func FormatDuration(d time.Duration) string {
	text := d.Round(time.Second).String()
	for _, zero := range [...]string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// read reads what is written. On error it changes nothing.
func (row *Setting) read(s *Settings, text string) error {
	changed := *s
	err := row.parse(&changed, text)
	if err == nil {
		*s = changed
	}
	return err
}

// find returns the row of a key, nil when there is none.
func find(key string) *Setting {
	for i := range Table {
		if Table[i].Key == key {
			return &Table[i]
		}
	}
	return nil
}

// Keys are the settings that may be written in a place, in order of the alphabet.
func Keys(place Source) []string {
	var keys []string
	for _, row := range Table {
		if row.In(place) {
			keys = append(keys, row.Key)
		}
	}
	slices.Sort(keys)
	return keys
}

// defaults are the settings of a server without any annotation. They begin with a zone: without one
// no window can be read.
var defaults = func() Settings {
	s := Settings{TimeZone: time.UTC}
	for _, row := range Table {
		_ = row.read(&s, fmt.Sprint(row.Default)) // "" can't be read, and changes nothing
	}
	return s
}()

// Defaults returns the settings of a server for which only idle-after is written.
func Defaults(idleAfter time.Duration) Settings {
	s := defaults
	s.IdleAfter = idleAfter
	return s
}
