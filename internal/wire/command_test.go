package wire

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// parse reads a payload of a verb, which somebody waits for if it is requested.
func parse(t testing.TB, verb Verb, payload string, requested bool) (Command, error) {
	t.Helper()
	s, err := NewSubjects(DefaultPrefix)
	check(t, err)
	return s.ReadCommand(s.Command(verb, web), []byte(payload), requested)
}

// Bad input is a clear error to its sender. It says what is wrong, and what to write instead.
func TestPayloadsThatMakeNoSense(t *testing.T) {
	for _, row := range []struct {
		verb    Verb
		payload string
		want    string
	}{
		{"start", `{`, "not valid JSON"},
		{"start", `{"wait"`, "not valid JSON"},
		{"start", `{"wait":}`, "not valid JSON"},
		{"start", `{"wait":"1s",}`, "not valid JSON"},
		{"start", `{"wait":"1s"`, "not valid JSON"},
		{"start", `{1:2}`, "not valid JSON"},
		{"start", ` `, "not a JSON object"},
		{"start", `null`, "not a JSON object"},
		{"start", `[]`, "not a JSON object"},
		{"start", `"60s"`, "not a JSON object"},
		{"start", `hello`, "not a JSON object"},
		{"start", `{"wait":"1s"}{}`, "goes on"},
		{"start", `{"wait":"1s"} x`, "goes on"},
		{"start", `{"wait":"1s","wait":"2s"}`, "twice"},
		{"start", `{"waits":"1s"}`, `unknown field "waits": use only actor, id, reason, wait`},
		{"start", `{"Wait":"1s"}`, `unknown field "Wait"`},
		{"start", `{"replicas":1}`, "unknown field"},
		{"start", `{"force":true}`, "unknown field"},
		{"stop", `{"wait":"1s"}`, "unknown field"},
		{"stop", `{"force":"yes"}`, "true or false"},
		{"stop", `{"force":1}`, "true or false"},
		{"stop", `{"force":null}`, "true or false"},
		{"start", `{"wait":60}`, `like "60s"`},
		{"start", `{"wait":null}`, `like "60s"`},
		{"start", `{"wait":"soon"}`, `like "60s"`},
		{"start", `{"wait":"60"}`, `like "60s"`},
		{"start", `{"id":7}`, "in quotes"},
		{"start", `{"actor":null}`, "in quotes"},
		{"start", `{"reason":["x"]}`, "in quotes"},
		{"scale", ``, "no replicas"},
		{"scale", `{}`, "no replicas"},
		{"scale", `{"force":true,"replicas":1}`, "unknown field"},
		{"scale", `{"replicas":"3"}`, "whole number, without quotes"},
		{"scale", `{"replicas":1.5}`, "whole number"},
		{"scale", `{"replicas":3.0}`, "whole number"},
		{"scale", `{"replicas":1e2}`, "whole number"},
		{"scale", `{"replicas":null}`, "whole number"},
		{"scale", `{"replicas":true}`, "whole number"},
		{"start", `{"id":"` + strings.Repeat("x", maxCommandID+1) + `"}`, "at most 128"},
		{"start", `{"actor":"` + strings.Repeat("x", maxActor+1) + `"}`, "at most 256"},
		{"start", `{"reason":"` + strings.Repeat("x", maxReason+1) + `"}`, "at most 1024"},
		{"start", `{"reason":"` + strings.Repeat("x", 65<<10) + `"}`, "at most 65536"},
		{"start", `{"` + strings.Repeat("x", 60<<10) + `":1}`, "unknown field"},
		{"start", "{\"reason\":\"\xff\"}", "UTF-8"},
		{"hold", ``, `write either {"awake_until":"18:00"} or {"asleep_until":"2h"}`},
		{"hold", `{"actor":"ann"}`, "write either"},
		{"hold", `{"awake_until":"2h","asleep_until":"2h"}`, "write either"},
		{"hold", `{"awake_until":2}`, "in quotes"},
		{"hold", `{"wait":"2h","awake_until":"2h"}`, "unknown field"},
		{"hold", `{"awake_until":"` + strings.Repeat("x", maxUntil+1) + `"}`, "at most 64"},
		{"release", `{"asleep_until":"2h"}`, "unknown field"},
		{"boot", `{}`, "unknown verb"},
	} {
		c, err := parse(t, row.verb, row.payload, true)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s %.60s: got %.200v, want an invalid one with %q", row.verb, row.payload, err, row.want)
		} else if len(err.Error()) > 400 {
			t.Errorf("%s %.60s: the error has %d bytes", row.verb, row.payload, len(err.Error()))
		}
		if c.Server != web || len(c.ID)+len(c.Actor)+len(c.Reason) > 4*maxReason {
			t.Errorf("%s %.60s: its event has %+.200v", row.verb, row.payload, c)
		}
	}
}

func TestPayloads(t *testing.T) {
	for _, row := range []struct {
		verb      Verb
		payload   string
		requested bool
		want      Command
	}{
		{"start", ``, true, Command{Wait: time.Minute}},
		{"start", `{}`, true, Command{Wait: time.Minute}},
		{"start", `{"wait":"0s"}`, true, Command{}},
		{"start", `{"wait":"5s"}`, true, Command{Wait: 5 * time.Second}},
		{"start", ``, false, Command{}},
		{"start", `{"wait":"5s"}`, false, Command{Wait: 5 * time.Second}},
		{"start", `{"wait":"-1s"}`, true, Command{Wait: -time.Second}}, // the domain says why not
		{"start", `{"wait":"10h"}`, true, Command{Wait: 10 * time.Hour}},
		{"stop", ``, true, Command{}},
		{"stop", `{"force":true}`, true, Command{Force: true}},
		{"scale", `{"replicas":3}`, true, Command{Replicas: 3}},
		{"scale", `{"replicas":0,"wait":"1m"}`, false, Command{Wait: time.Minute}},
		{"scale", `{"replicas":-1}`, true, Command{Replicas: -1}},
		{"scale", `{"replicas":99999999999999999999999}`, true, Command{Replicas: 1<<31 - 1}},
		{"hold", `{"awake_until":"18:00","id":"7"}`, true, Command{Until: "18:00", Sender: Sender{ID: "7"}}},
		{
			"hold", `{"asleep_until":"2h","actor":"ann","reason":"tea"}`, false,
			Command{Asleep: true, Until: "2h", Sender: Sender{Actor: "ann", Reason: "tea"}},
		},
		{"hold", `{"asleep_until":""}`, false, Command{Asleep: true}}, // the domain says why not
		{"release", ``, true, Command{}},
		{"release", `{"actor":"ann"}`, false, Command{Sender: Sender{Actor: "ann"}}},
		{
			"stop", ` { "id" : "7" , "actor" : "ann", "reason": "tea \u263a" } `, false,
			Command{Sender: Sender{ID: "7", Actor: "ann", Reason: "tea ☺"}},
		},
	} {
		row.want.Verb, row.want.Server = row.verb, web
		if got, err := parse(t, row.verb, row.payload, row.requested); err != nil || got != row.want {
			t.Errorf("%s %s: got %+v %v, want %+v", row.verb, row.payload, got, err, row.want)
		}
	}
}

func TestLeasePayloads(t *testing.T) {
	for payload, want := range map[string]time.Duration{
		`{"ttl":"5m"}`: 5 * time.Minute, `{"ttl":"0s"}`: 0, `{"ttl":"24h"}`: 24 * time.Hour,
	} {
		if got, err := ReadLease([]byte(payload)); err != nil || got != want {
			t.Errorf("%s: got %s %v, want %s", payload, got, err, want)
		}
	}
	for payload, want := range map[string]error{
		``: ErrInvalid, `{}`: ErrInvalid, `{"ttl":"-1s"}`: ErrInvalid, `{"ttl":5}`: ErrInvalid, `{"TTL":"5m"}`: ErrInvalid,
		`{"ttl":"24h1s"}`: ErrOutOfRange,
	} {
		if got, err := ReadLease([]byte(payload)); !errors.Is(err, want) {
			t.Errorf("%s: got %s %v, want %v", payload, got, err, want)
		}
	}
}

// No payload makes the decoder panic, and no text of a sender is longer than its limit.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"replicas":3}`, `{"wait":"60s","id":"a"}`, `{"force":true}`, `{"replicas":1e9}`,
		`{"asleep_until":"18:00"}`, `{"awake_until":"","asleep_until":""}`, "{\"reason\":\"\xff\"}", `{"a":`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, verb := range verbs {
			c, err := parse(t, verb, string(payload), true)
			if err != nil && (!errors.Is(err, ErrInvalid) || len(err.Error()) > 1000) {
				t.Errorf("%s %q: %.1000v", verb, payload, err)
			}
			n := len(c.ID) + len(c.Actor) + len(c.Reason) + len(c.Until)
			if err == nil && n > maxCommandID+maxActor+maxReason+maxUntil {
				t.Errorf("%s: took %d bytes of text", verb, n)
			}
		}
		_, _ = ReadLease(payload)
		order, err := ReadPauseOrder(payload)
		if err == nil && order.Since.IsZero() && !strings.Contains(string(payload), "0001-01-01") {
			t.Errorf("%q: paused since never", payload)
		}
	})
}

// A deadline is an instant, or a duration from when the stream took the command, which works even
// if two clocks differ.
func TestDeadline(t *testing.T) {
	taken := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Time{
		"":                     {},
		"30s":                  taken.Add(30 * time.Second),
		"2026-01-02T03:05:00Z": taken.Add(55 * time.Second),
	} {
		if got, err := ReadDeadline(header, taken); err != nil || !got.Equal(want) {
			t.Errorf("%q: %s, want %s: %v", header, got, want, err)
		}
	}
	for _, header := range []string{"soon", "30", "2026-01-02"} {
		if _, err := ReadDeadline(header, taken); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", header, err)
		}
	}
}
