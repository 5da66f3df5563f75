package policy

import (
	"strings"
	"testing"
	"time"
)

// written is what people have written on a server: key, value, key, value.
func written(keysAndValues ...string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(keysAndValues); i += 2 {
		m[keysAndValues[i]] = keysAndValues[i+1]
	}
	return m
}

// What is written overrides the default, and only that; space around a value is nobody's intent.
func TestParse(t *testing.T) {
	defaults := Defaults(30 * time.Minute)
	for _, row := range []struct {
		written map[string]string
		want    func(*Settings)
	}{
		{nil, func(*Settings) {}},
		{written("idle-after", "1h30m"), func(s *Settings) { s.IdleAfter = 90 * time.Minute }},
		{written("idle-after", "never"), func(s *Settings) { s.IdleAfter = Never }},
		{written("idle-after", "1s"), func(s *Settings) { s.IdleAfter = time.Second }},
		{written("idle-after", "720h"), func(s *Settings) { s.IdleAfter = MaxIdleAfter }},
		{written("idle-after", " 5m\n"), func(s *Settings) { s.IdleAfter = 5 * time.Minute }},
		{written("wake-replicas", "3"), func(s *Settings) { s.WakeReplicas = 3 }},
		{written("max-replicas", "1"), func(s *Settings) { s.MaxReplicas = 1 }},
		{written("wake-replicas", "20", "max-replicas", "20"), func(s *Settings) { s.WakeReplicas, s.MaxReplicas = 20, 20 }},
		{written("wake-on-activity", "false"), func(s *Settings) { s.WakeOnActivity = false }},
		{written("paused", "true"), func(s *Settings) { s.Paused = true }},
		{written("paused", "false", "wake-on-activity", "true"), func(*Settings) {}},
	} {
		want := defaults
		row.want(&want)
		if got, err := Parse(row.written, defaults); err != nil || got != want {
			t.Errorf("%v: %+v, %v; want %+v", row.written, got, err, want)
		}
	}
}

// A bad value is an error that names the key and the value and says what to write, and the default stays. So is an unknown key.
func TestParseBadValues(t *testing.T) {
	defaults := Defaults(30 * time.Minute)
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
		{"wake-replicas", "11", "above max-replicas 10"},
		{"max-replicas", "0", "not a whole number of at least 1"},
		{"max-replicas", "many", "not a whole number of at least 1"},
		{"wake-on-activity", "yes", `neither "true" nor "false"`},
		{"wake-on-activity", "", `neither "true" nor "false"`},
		{"paused", "True", `neither "true" nor "false"`},
		{"paused", "1", `neither "true" nor "false"`},
		{"idle-afer", "never", "known are idle-after, max-replicas, paused, wake-on-activity, wake-replicas"},
		{"Paused", "true", "unknown setting"},
		{"", "true", "unknown setting"},
	} {
		got, err := Parse(written(row.key, row.value), defaults)
		if err == nil || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), row.key) {
			t.Errorf("%s: %q: error %v, want one with %q", row.key, row.value, err, row.says)
		}
		if row.value != "11" && got != defaults {
			t.Errorf("%s: %q: %+v, want the defaults", row.key, row.value, got)
		}
	}
}

// All errors are told at once, in order of key, and what can be read is read.
func TestParseJoinsErrors(t *testing.T) {
	got, err := Parse(written("paused", "maybe", "idle-after", "soon", "max-replicas", "3", "zzz", "1", "wake-replicas", "0"), Defaults(time.Hour))
	want := Defaults(time.Hour)
	want.MaxReplicas = 3
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	for i, key := range []string{`idle-after "soon": `, `paused "maybe": `, `wake-replicas "0": `, `zzz "1": `} {
		if len(lines) != 4 || !strings.HasPrefix(lines[i], key) {
			t.Fatalf("errors are\n%v\nwant line %d to be about %s", err, i, key)
		}
	}
}

// Keys names all settings that Parse knows, in order: the text of an error and the documentation are made of it.
func TestKeys(t *testing.T) {
	for i, key := range Keys {
		if _, err := Parse(written(key, "\x00"), Settings{}); err == nil || strings.Contains(err.Error(), "unknown") {
			t.Errorf("%s is not known: %v", key, err)
		}
		if i > 0 && Keys[i-1] >= key {
			t.Errorf("%s is out of order", key)
		}
	}
}

// No text makes Parse panic, and what it takes without an error is within the bounds.
func FuzzParse(f *testing.F) {
	for _, value := range []string{"30m", "never", "true", "false", "3", "", " ", "-1", "1e9h", "\xff", "٣", "0x10", "1_000", "+5", "9223372036854775807ns"} {
		for _, key := range append([]string{"idle-afer"}, Keys...) {
			f.Add(key, value, "max-replicas", "5")
		}
	}
	f.Fuzz(func(t *testing.T, key, value, key2, value2 string) {
		settings, err := Parse(written(key, value, key2, value2), Defaults(time.Hour))
		if after := settings.IdleAfter; after != Never && (after < time.Second || after > MaxIdleAfter) {
			t.Errorf("idle-after is %s", after)
		}
		if settings.WakeReplicas < 1 || settings.MaxReplicas < 1 || err == nil && settings.WakeReplicas > settings.MaxReplicas {
			t.Errorf("wake-replicas %d, max-replicas %d", settings.WakeReplicas, settings.MaxReplicas)
		}
		again, err2 := Parse(written(key, value, key2, value2), Defaults(time.Hour))
		if again != settings || (err == nil) != (err2 == nil) || err != nil && err.Error() != err2.Error() {
			t.Errorf("%+v, %v; and then %+v, %v", settings, err, again, err2)
		}
	})
}
