package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	. "idle-scaler/policy"
)

// settingCases are texts of the settings, and what they make of the defaults.
var settingCases = []struct {
	key, text string
	want      func(*Settings)
}{
	{"idle-after", "1h30m", func(s *Settings) { s.IdleAfter = 90 * time.Minute }},
	{"idle-after", "never", func(s *Settings) { s.IdleAfter = Never }},
	{"idle-after", "1s", func(s *Settings) { s.IdleAfter = time.Second }},
	{"idle-after", "720h", func(s *Settings) { s.IdleAfter = MaxIdleAfter }},
	{"idle-after", " 5m\n", func(s *Settings) { s.IdleAfter = 5 * time.Minute }},
	{"keep-warm", "0 9 * * MON-FRI for 9h", keepsWarm},
	{"keep-warm", "0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h", func(s *Settings) {
		s.KeepWarm = must(ParseWindows("0 9 * * MON-FRI for 9h; 0 10 * * SAT for 2h", time.UTC))
	}},
	{"keep-warm", "none", func(*Settings) {}},
	{"sleep-at", "0 22 * * *", sleepsAt},
	{"sleep-at", "0 22 * * *; 0 14 * * SAT", func(s *Settings) {
		s.SleepAt = must(ParseTimes("0 22 * * *; 0 14 * * SAT", time.UTC))
	}},
	{"sleep-at", "none", func(*Settings) {}},
	{"time-zone", "Europe/Rome", func(s *Settings) { s.TimeZone = must(time.LoadLocation("Europe/Rome")) }},
	{"time-zone", "UTC", func(*Settings) {}},
	{"sleep-notice", "30s", func(s *Settings) { s.SleepNotice = 30 * time.Second }},
	{"sleep-notice", "1h", func(s *Settings) { s.SleepNotice = time.Hour }},
	{"sleep-notice", "0s", func(*Settings) {}},
	{"wake-replicas", "3", func(s *Settings) { s.WakeReplicas = 3 }},
	{"max-replicas", "20", func(s *Settings) { s.MaxReplicas = 20 }},
	{"max-replicas", "1", func(s *Settings) { s.MaxReplicas = 1 }},
	{"max-replicas", "2147483647", func(s *Settings) { s.MaxReplicas = 2147483647 }},
	{"wake-on-activity", "false", func(s *Settings) { s.WakeOnActivity = false }},
	{"wake-on-activity", "true", func(*Settings) {}},
	{"dry-run", "true", func(s *Settings) { s.DryRun = true }},
	{"dry-run", "false", func(*Settings) {}},
	{"paused", "true", func(s *Settings) { s.Paused = true }},
	{"paused", "false", func(*Settings) {}},
	{"group", "bots", func(s *Settings) { s.Group = "bots" }},
	{"group", "web-1", func(s *Settings) { s.Group = "web-1" }},
	{"group", "Team.A_1-x", func(s *Settings) { s.Group = "Team.A_1-x" }},
	{"after", "db", func(s *Settings) { s.Group, s.After = "bots", []string{"db"} }},
	{"after", "db, cache", func(s *Settings) { s.Group, s.After = "bots", []string{"db", "cache"} }},
	{"after", "db, cache,db", func(s *Settings) { s.Group, s.After = "bots", []string{"db", "cache"} }},
}

func keepsWarm(s *Settings) { s.KeepWarm = must(ParseWindows("0 9 * * MON-FRI for 9h", s.TimeZone)) }
func sleepsAt(s *Settings)  { s.SleepAt = must(ParseTimes("0 22 * * *", s.TimeZone)) }

// onServer is what people have written on a server: key, value, key, value.
func onServer(keysAndValues ...string) Layer { return layer(FromServer, keysAndValues...) }

func layer(source Source, keysAndValues ...string) Layer {
	l := Layer{source, make(map[string]string)}
	for i := 0; i < len(keysAndValues); i += 2 {
		l.Written[keysAndValues[i]] = keysAndValues[i+1]
	}
	return l
}

// same reports whether settings mean the same, however they are written.
func same(a, b Settings) bool {
	opens := func(s Settings) (instants []time.Time) {
		for now := noon; now.Before(noon.AddDate(0, 0, 8)); now = now.Add(15 * time.Minute) {
			end, _ := s.KeepWarm.Until(now)
			instants = append(instants, end, s.SleepAt.Next(now))
		}
		return instants
	}
	return a.IdleAfter == b.IdleAfter && a.TimeZone.String() == b.TimeZone.String() && a.SleepNotice == b.SleepNotice && a.WakeReplicas == b.WakeReplicas &&
		a.MaxReplicas == b.MaxReplicas && a.WakeOnActivity == b.WakeOnActivity && a.Paused == b.Paused && a.DryRun == b.DryRun && a.Group == b.Group &&
		slices.Equal(a.After, b.After) && slices.EqualFunc(opens(a), opens(b), time.Time.Equal)
}

// What is written overrides the default, and only that; space around a value is nobody's intent.
func TestParse(t *testing.T) {
	for _, c := range settingCases {
		want := Defaults(30 * time.Minute)
		c.want(&want)
		l := onServer(c.key, c.text)
		if c.key == "after" {
			l.Written["group"] = "bots"
		}
		if got, _, err := Parse(l); err != nil || !same(got, want) {
			t.Errorf("%s %q: %+v, %v; want %+v", c.key, c.text, got, err, want)
		}
	}
	if got, sources, err := Parse(); err != nil || sources != nil || got.Digest != "" || !same(got, Defaults(30*time.Minute)) {
		t.Errorf("of nothing: %+v, %v, %v", got, sources, err)
	}
	if got, _, err := Parse(onServer("wake-replicas", "20", "max-replicas", "20")); err != nil || got.WakeReplicas != 20 {
		t.Errorf("as many to wake as there may be: %+v, %v", got, err)
	}
}

// Windows and times are in the time zone of the server, wherever that is written, unless they name
// their own.
func TestParseInTimeZone(t *testing.T) {
	for name, layers := range map[string][]Layer{
		"on the server":            {onServer("time-zone", "Europe/Rome", "keep-warm", "0 9 * * * for 1h", "sleep-at", "0 9 * * *")},
		"on the namespace":         {layer(FromNamespace, "time-zone", "Europe/Rome"), onServer("keep-warm", "0 9 * * * for 1h", "sleep-at", "0 9 * * *")},
		"windows on the namespace": {layer(FromNamespace, "keep-warm", "0 9 * * * for 1h", "sleep-at", "0 9 * * *"), onServer("time-zone", "Europe/Rome")},
		"of their own":             {onServer("time-zone", "Asia/Tokyo", "keep-warm", "TZ=Europe/Rome 0 9 * * * for 1h", "sleep-at", "CRON_TZ=Europe/Rome 0 9 * * *")},
	} {
		s, _, err := Parse(layers...)
		nine := instant(t, "2026-07-02T09:00:00+02:00")
		if err != nil || !s.KeepWarm.Next(noon).Equal(nine) || !s.SleepAt.Next(noon).Equal(nine) {
			t.Errorf("%s: %v, and %v, %v; want 9:00 in Rome", name, s.KeepWarm.Next(noon), s.SleepAt.Next(noon), err)
		}
	}
}

// A bad value is an error that names the key and the value and says what to write, and the default
// stays. So is an unknown key.
func TestParseBadValues(t *testing.T) {
	for _, row := range []struct{ key, value, says string }{
		{"idle-after", "", `write it like "30m"`},
		{"idle-after", "soon", `write it like "30m"`},
		{"idle-after", "30", `write it like "30m"`},
		{"idle-after", "Never", `or "never"`},
		{"idle-after", "1d", `write it like "30m"`},
		{"idle-after", "30m 10s", `write it like "30m"`},
		{"idle-after", "9999999999h", `write it like "30m"`},
		{"idle-after", "0", "shorter than 1s"},
		{"idle-after", "999ms", "shorter than 1s"},
		{"idle-after", "-5m", "shorter than 1s"},
		{"idle-after", "720h0m1s", "longer than 720h"},
		{"wake-replicas", "0", "not a whole number of at least 1"},
		{"wake-replicas", "-1", "not a whole number of at least 1"},
		{"wake-replicas", "1.5", "not a whole number of at least 1"},
		{"wake-replicas", "", "not a whole number of at least 1"},
		{"wake-replicas", "2147483648", "not a whole number of at least 1"},
		{"max-replicas", "0", "not a whole number of at least 1"},
		{"max-replicas", "many", "not a whole number of at least 1"},
		{"wake-on-activity", "yes", `neither "true" nor "false"`},
		{"wake-on-activity", "", `neither "true" nor "false"`},
		{"paused", "True", `neither "true" nor "false"`},
		{"paused", "1", `neither "true" nor "false"`},
		{"dry-run", "on", `neither "true" nor "false"`},
		{"keep-warm", "9-18", `"9-18" does not say for how long: write windows like "0 9 * * MON-FRI for 9h`},
		{"keep-warm", "", "does not say for how long"},
		{"sleep-at", "22:00", `write times like "0 22 * * *`},
		{"sleep-at", "@every 1h", `"@every" names no time of a clock`},
		{"time-zone", "", `names no time zone: write one like "Europe/Rome"`},
		{"time-zone", "Local", `names no time zone: write one like "Europe/Rome"`},
		{"time-zone", "Europe/Roma", `unknown time zone Europe/Roma: write one like "Europe/Rome"`},
		{"time-zone", "../../etc/passwd", `write one like "Europe/Rome"`},
		{"time-zone", "+02:00", `write one like "Europe/Rome"`},
		{"sleep-notice", "", `not a duration of at most 1h: write it like "30s"`},
		{"sleep-notice", "30", `write it like "30s"`},
		{"sleep-notice", "-1s", `write it like "30s"`},
		{"sleep-notice", "1h0m1s", `write it like "30s"`},
		{"group", "", "not a name: use at most 63 letters"},
		{"group", "a b", "not a name"},
		{"group", "a/b", "not a name"},
		{"group", "bötchen", "not a name"},
		{"group", strings.Repeat("x", 64), "not a name"},
		{"after", "", `an empty name: write names of servers of the same group, like "db, cache"`},
		{"after", "db,,cache", "an empty name"},
		{"after", "db;", "after needs a group"},
		{"after", "db", "after needs a group: write the same group on this server"},
		{"wake-replicas", "11", "wake-replicas 11 is above max-replicas 10: raise max-replicas"},
		{"idle-afer", "never", "unknown setting; known are after, dry-run, group, idle-after, keep-warm, max-replicas, paused, sleep-at, sleep-notice, time-zone, wake-on-activity, wake-replicas"},
		{"Paused", "true", "unknown setting"},
		{"", "true", "unknown setting"},
	} {
		got, _, err := Parse(onServer(row.key, row.value))
		if err == nil || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), row.key) {
			t.Errorf("%s: %q: error %v, want one with %q", row.key, row.value, err, row.says)
		}
		contradicts := row.value == "11" || strings.HasPrefix(row.value, "db") && !strings.Contains(row.value, ",")
		if !contradicts && !same(got, Defaults(30*time.Minute)) {
			t.Errorf("%s: %q: %+v, want the defaults", row.key, row.value, got)
		}
	}
}

// All errors are returned at once, in order of key but the time zone first, in which others are read;
// and what can be read is read.
func TestParseJoinsErrors(t *testing.T) {
	got, _, err := Parse(onServer("paused", "maybe", "idle-after", "soon", "max-replicas", "3", "zzz", "1", "wake-replicas", "0", "time-zone", "Rome", "keep-warm", "0 9 * * * for 9h"))
	want := Defaults(30 * time.Minute)
	want.MaxReplicas, want.KeepWarm = 3, must(ParseWindows("0 9 * * * for 9h", time.UTC))
	if !same(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, key := range []string{`time-zone "Rome": `, `idle-after "soon": `, `paused "maybe": `, `wake-replicas "0": `, `zzz "1": `} {
		if len(lines) != 5 || !strings.HasPrefix(lines[i], key) {
			t.Fatalf("errors are\n%v\nwant line %d to be about %s", err, i, key)
		}
	}
}

// No text makes Parse panic, and what it takes without an error is within the bounds, whichever
// layer it comes from.
func FuzzParse(f *testing.F) {
	for _, value := range []string{"30m", "never", "true", "false", "3", "", " ", "-1", "1e9h", "\xff", "٣", "0x10", "1_000", "+5", "9223372036854775807ns", "0 9 * * * for 9h", "TZ= for 1s", "Europe/Rome", "db, cache", "none"} {
		for _, key := range append(Keys(FromServer), "idle-afer") {
			f.Add(key, value, "max-replicas", "5", uint8(0))
		}
	}
	sources := []Source{FromServer, FromNamespace, FromConfig}
	f.Fuzz(func(t *testing.T, key, value, key2, value2 string, from uint8) {
		layers := []Layer{layer(sources[int(from)%3], key, value), layer(sources[int(from/3)%3], key2, value2)}
		settings, _, err := Parse(layers...)
		if after := settings.IdleAfter; after != Never && (after < time.Second || after > MaxIdleAfter) {
			t.Errorf("idle-after is %s", after)
		}
		if n := settings.SleepNotice; n < 0 || n > MaxNotice || settings.TimeZone == nil {
			t.Errorf("sleep-notice is %s, in %v", n, settings.TimeZone)
		}
		if settings.WakeReplicas < 1 || settings.MaxReplicas < 1 || err == nil && (settings.WakeReplicas > settings.MaxReplicas || len(settings.After) > 0 && settings.Group == "") {
			t.Errorf("wake-replicas %d, max-replicas %d, after %q", settings.WakeReplicas, settings.MaxReplicas, settings.After)
		}
		again, _, err2 := Parse(layers...)
		if again.Digest != settings.Digest || !same(again, settings) || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Errorf("%+v, %v; and then %+v, %v", settings, err, again, err2)
		}
	})
}
