package kube

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

var (
	testID = scaler.ID{Namespace: "team-a", Name: "search"}
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
)

func fullMark() scaler.Mark {
	return scaler.Mark{
		Restore: 3, Because: policy.BecauseIdle, Asleep: noon, Awake: noon.Add(-time.Hour),
		Seen:    activity.Stamp{Sequence: 41, Time: noon.Add(-time.Nanosecond)},
		Failed:  "ImagePullBackOff: pod search-1: container main is waiting",
		Hold:    policy.Hold{Asleep: true, Since: noon, Until: noon.Add(2 * time.Hour), Actor: "ann", Reason: "the demo"},
		Reverts: policy.Reverts{Count: 2, Writer: "argocd-controller", Since: noon.Add(-time.Hour), Digest: "abc"},
		Done:    scaler.Done{Stamp: activity.Stamp{Sequence: 7, Time: noon}, ID: "order 66 of bob"},
		Last: scaler.Event{
			ID: "uid-7", Type: scaler.Slept, Server: testID, At: noon, From: 3, To: 0, Cause: policy.CauseIdle, Actor: "bob",
			Command: "order 66 of bob", Reason: `says "enough" <now>`, Text: "unused for 31m", Idle: 31*time.Minute + 1, Took: 1500 * time.Millisecond, Asleep: 30*time.Hour + 1,
		},
	}
}

func annotated(marks map[string]string) map[string]string {
	annotations := make(map[string]string)
	for key, value := range marks {
		annotations[prefix+key] = value
	}
	return annotations
}

// What the daemon writes on a Deployment it reads again, to the nanosecond: nothing is lost when another replica leads.
func TestMarkRoundTrip(t *testing.T) {
	east := time.FixedZone("east", 3*3600)
	for name, mark := range map[string]scaler.Mark{
		"nothing":                  {},
		"everything":               fullMark(),
		"a command with no id":     {Done: scaler.Done{Stamp: activity.Stamp{Sequence: 1, Time: noon}}},
		"a stamp with no time":     {Seen: activity.Stamp{Sequence: 1}},
		"the largest sequence":     {Seen: activity.Stamp{Sequence: 1<<64 - 1, Time: noon}},
		"put to sleep by sleep-at": {Because: policy.BecauseSchedule},
		"stopped":                  {Because: policy.BecauseCommand},
		"held asleep":              {Because: policy.BecauseHold},
		"waits for others":         {Because: policy.BecauseAfter},
		"held awake by nobody":     {Hold: policy.Hold{Since: noon, Until: noon.Add(1)}},
		"reverted by nobody knows": {Reverts: policy.Reverts{Count: 1, Since: noon}},
		"an event of no change":    {Last: scaler.Event{ID: "x", Type: scaler.Unchanged, Server: testID, At: noon}},
	} {
		read, err := decodeMark(testID, annotated(encodeMark(mark)))
		if err != nil || !reflect.DeepEqual(read, mark) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", name, err, read, mark)
		}
	}
	read, err := decodeMark(testID, annotated(encodeMark(scaler.Mark{Asleep: noon.In(east)})))
	if err != nil || !read.Asleep.Equal(noon) || read.Asleep.Location() != time.UTC {
		t.Errorf("a time of another zone came back as %v, %v", read.Asleep, err)
	}
}

// The written form is what users see and other versions of the daemon read: it changes knowingly only.
func TestMarkForm(t *testing.T) {
	want := map[string]string{
		"replicas":       "3",
		"asleep-because": "idle",
		"asleep-since":   "2026-03-01T12:00:00.123456789Z",
		"awake-since":    "2026-03-01T11:00:00.123456789Z",
		"seen":           "41@2026-03-01T12:00:00.123456788Z",
		"command":        "7@2026-03-01T12:00:00.123456789Z order 66 of bob",
		"failed":         "ImagePullBackOff: pod search-1: container main is waiting",
		"hold":           `{"asleep":true,"since":"2026-03-01T12:00:00.123456789Z","until":"2026-03-01T14:00:00.123456789Z","actor":"ann","reason":"the demo"}`,
		"reverts":        `{"count":2,"writer":"argocd-controller","since":"2026-03-01T11:00:00.123456789Z","digest":"abc"}`,
		"last": `{"id":"uid-7","type":"slept","at":"2026-03-01T12:00:00.123456789Z","from":3,"to":0,"cause":"idle","actor":"bob",` +
			`"command":"order 66 of bob","reason":"says \"enough\" \u003cnow\u003e","text":"unused for 31m","idle":"31m0.000000001s","took":"1.5s","asleep":"30h0m0.000000001s",` +
			`"marks":["asleep-because","asleep-since","awake-since","command","failed","hold","replicas","reverts","seen","last"]}`,
	}
	got := encodeMark(fullMark())
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// A key that is not among markKeys would be taken for a setting, and never be removed.
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(slices.Sorted(slices.Values(markKeys)), keys) {
		t.Errorf("written are %v, known are %v", keys, markKeys)
	}
	if settings := settingsOf(annotated(got)); settings != nil {
		t.Errorf("marks that are taken for settings: %v", settings)
	}
}

// A mark that was damaged makes the server unreadable, names the annotation, and does not hide the others.
func TestDamagedMarks(t *testing.T) {
	for _, c := range []struct{ key, text, want string }{
		{keyRestore, "many", "whole number"},
		{keyRestore, "0", "whole number"},
		{keyRestore, "-1", "whole number"},
		{keyRestore, "99999999999", "whole number"},
		{keyBecause, "boredom", "no known cause"},
		{keyAsleep, "yesterday", "not a time"},
		{keyAsleep, "0000-01-01T00:00:00+23:00", "not a time"},
		{keyAsleep, "9999-12-31T23:59:59-23:59", "not a time"},
		{keyAwake, "", "not a time"},
		{keySeen, "41", "not a time"},
		{keySeen, "@2026-03-01T12:00:00Z", "no sequence"},
		{keySeen, "-1@2026-03-01T12:00:00Z", "no sequence"},
		{keyDone, "7", "not a time"},
		{keyDone, "x@2026-03-01T12:00:00Z id", "no sequence"},
		{keyHold, "", "JSON"},
		{keyHold, "{}", "not a time"},
		{keyHold, `{"since":"2026-03-01T12:00:00Z"}`, "not a time"},
		{keyHold, `{"since":"2026-03-01T12:00:00Z","until":"tomorrow"}`, "not a time"},
		{keyHold, `{"since":"2026-03-01T12:00:00Z","until":"2026-03-01T12:00:00Z","asleep":"yes"}`, "asleep"},
		{keyReverts, "2", "reverts"},
		{keyReverts, "{}", "count below 1"},
		{keyReverts, `{"count":-1,"since":"2026-03-01T12:00:00Z"}`, "count below 1"},
		{keyReverts, `{"count":2}`, "not a time"},
		{keyLast, "", "JSON"},
		{keyLast, "null", "not a time"},
		{keyLast, `{"id":"x","at":"2026-03-01T12:00:00Z","idle":"long"}`, "invalid duration"},
		{keyLast, `{"id":"x","at":"2026-03-01T12:00:00Z","took":"long"}`, "invalid duration"},
		{keyLast, `{"id":"x","at":"2026-03-01T12:00:00Z","asleep":"long"}`, "invalid duration"},
		{keyLast, `{"id":"x","at":"2026-03-01T12:00:00Z","from":"one"}`, "from"},
	} {
		marks := encodeMark(fullMark())
		marks[c.key] = c.text
		read, err := decodeMark(testID, annotated(marks))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.key) {
			t.Errorf("%s %q: error %v, want one that says %q", c.key, c.text, err, c.want)
		}
		if c.key != keyLast && read.Last != fullMark().Last {
			t.Errorf("%s %q: the last transition came out as %+v", c.key, c.text, read.Last)
		}
		again := encodeMark(read)
		marks = encodeMark(fullMark())
		for _, key := range []string{c.key, keyLast} { // which names the others
			delete(marks, key)
			delete(again, key)
		}
		if !maps.Equal(again, marks) {
			t.Errorf("%s %q: the other marks came out as %v", c.key, c.text, again)
		}
	}
}

// Annotations of an object share 256 KiB: what others write into events must not make a Deployment unwritable.
func TestMarksAreBounded(t *testing.T) {
	long := strings.Repeat("\x00€\xff", 100_000)
	mark := fullMark()
	mark.Failed, mark.Done.ID = long, long
	mark.Hold.Actor, mark.Hold.Reason, mark.Reverts.Writer, mark.Reverts.Digest = long, long, long, long
	mark.Last.Actor, mark.Last.Command, mark.Last.Reason, mark.Last.Text = long, long, long, long
	size := 0
	marks := encodeMark(mark)
	for key, value := range marks {
		size += len(key) + len(value)
	}
	if size > 16<<10 {
		t.Errorf("%d bytes of annotations", size)
	}
	read, err := decodeMark(testID, annotated(marks))
	if err != nil || !maps.Equal(encodeMark(read), marks) {
		t.Errorf("what was cut does not stay as it is: %v", err)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""}, {"12345678", "12345678"}, {"123456789", "12345…"}, {"1234€6789", "1234…"}, {"a\xffb", "a\uFFFDb"},
	} {
		if got := cut(c.text, 8); got != c.want {
			t.Errorf("cut(%q, 8) = %q, want %q", c.text, got, c.want)
		}
	}
}

// Whatever stands in the annotations: no panic, and what can be read is read the same way after it was written again.
func FuzzDecodeMark(f *testing.F) {
	full := encodeMark(fullMark())
	f.Add(full[keyRestore], full[keyBecause], full[keyAsleep], full[keySeen], full[keyDone], full[keyFailed], full[keyHold], full[keyReverts], full[keyLast])
	f.Add("0", "", "0001-01-01T00:00:00Z", "18446744073709551615@9999-12-31T23:59:59.999999999Z", "1@", "\xff", "{}", "{}", "{}")
	f.Add("+7", "command", "9999-12-31T23:59:59-23:59", "@", " ", "", `{"since":"2026-01-01T00:00:00,5Z","until":"0001-01-01T00:00:00Z","actor":"\xff"}`, `{"count":9223372036854775807,"since":"2026-01-01T00:00:00Z"}`, `{"id":"a","at":"2026-01-01T00:00:00,5Z","idle":"-9223372036854775808ns"}`)
	f.Add("1e3", "IDLE", "2026-02-30T00:00:00Z", "1@@", "1@2026-01-01T00:00:00Z  two", strings.Repeat("€", 1000), `{"since":"2026-01-01T00:00:00+23:59","until":"9999-12-31T00:00:00Z"}`, `{"count":1e3,"since":"2026-01-01T00:00:00Z","digest":"\u0000"}`, `{"id":1}`)
	f.Fuzz(func(t *testing.T, restore, because, asleep, seen, done, failed, hold, reverts, last string) {
		mark, _ := decodeMark(testID, annotated(map[string]string{
			keyRestore: restore, keyBecause: because, keyAsleep: asleep,
			keySeen: seen, keyDone: done, keyFailed: failed, keyHold: hold, keyReverts: reverts, keyLast: last,
		}))
		written := encodeMark(mark)
		again, err := decodeMark(testID, annotated(written))
		if err != nil {
			t.Fatalf("%v can't be read: %v", written, err)
		}
		if rewritten := encodeMark(again); !maps.Equal(rewritten, written) {
			t.Fatalf("written  %q\nrewritten %q", written, rewritten)
		}
	})
}
