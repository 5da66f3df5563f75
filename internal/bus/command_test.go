package bus

import (
	"errors"
	"strings"
	"testing"
	"time"

	"idle-scaler/scaler"
)

// parse reads a payload of a verb as one that somebody waits for, or not.
func parse(t testing.TB, verb scaler.Verb, payload string, requested bool) (scaler.Command, error) {
	t.Helper()
	s, err := NewSubjects(DefaultPrefix)
	check(t, err)
	return s.parseCommand(s.Command(verb, web), []byte(payload), requested)
}

// Bad input is a clear error to its sender: what is wrong, and what to write instead.
func TestPayloadsThatMakeNoSense(t *testing.T) {
	for _, row := range []struct {
		verb    scaler.Verb
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
		if !errors.Is(err, scaler.ErrInvalid) || Code(err) != 400 || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s %.60s: got %.200v, want an invalid one with %q", row.verb, row.payload, err, row.want)
		} else if len(err.Error()) > 400 {
			t.Errorf("%s %.60s: the error has %d bytes", row.verb, row.payload, len(err.Error()))
		}
		if c.Server != web || len(c.ID)+len(c.Actor)+len(c.Reason) > 4*maxReason {
			t.Errorf("%s %.60s: it is told of as %+.200v", row.verb, row.payload, c)
		}
	}
}

func TestPayloads(t *testing.T) {
	for _, row := range []struct {
		verb      scaler.Verb
		payload   string
		requested bool
		want      scaler.Command
	}{
		{"start", ``, true, scaler.Command{Wait: time.Minute}},
		{"start", `{}`, true, scaler.Command{Wait: time.Minute}},
		{"start", `{"wait":"0s"}`, true, scaler.Command{}},
		{"start", `{"wait":"5s"}`, true, scaler.Command{Wait: 5 * time.Second}},
		{"start", ``, false, scaler.Command{}},
		{"start", `{"wait":"5s"}`, false, scaler.Command{Wait: 5 * time.Second}},
		{"start", `{"wait":"-1s"}`, true, scaler.Command{Wait: -time.Second}}, // the domain says why not
		{"start", `{"wait":"10h"}`, true, scaler.Command{Wait: 10 * time.Hour}},
		{"stop", ``, true, scaler.Command{}},
		{"stop", `{"force":true}`, true, scaler.Command{Force: true}},
		{"scale", `{"replicas":3}`, true, scaler.Command{Replicas: 3}},
		{"scale", `{"replicas":0,"wait":"1m"}`, false, scaler.Command{Wait: time.Minute}},
		{"scale", `{"replicas":-1}`, true, scaler.Command{Replicas: -1}},
		{"scale", `{"replicas":99999999999999999999999}`, true, scaler.Command{Replicas: 1<<31 - 1}},
		{"hold", `{"awake_until":"18:00","id":"7"}`, true, scaler.Command{Until: "18:00", ID: "7"}},
		{"hold", `{"asleep_until":"2h","actor":"ann","reason":"tea"}`, false, scaler.Command{Asleep: true, Until: "2h", Actor: "ann", Reason: "tea"}},
		{"hold", `{"asleep_until":""}`, false, scaler.Command{Asleep: true}}, // the domain says why not
		{"release", ``, true, scaler.Command{}},
		{"release", `{"actor":"ann"}`, false, scaler.Command{Actor: "ann"}},
		{"stop", ` { "id" : "7" , "actor" : "ann", "reason": "tea \u263a" } `, false, scaler.Command{ID: "7", Actor: "ann", Reason: "tea ☺"}},
	} {
		row.want.Verb, row.want.Server = row.verb, web
		if got, err := parse(t, row.verb, row.payload, row.requested); err != nil || got != row.want {
			t.Errorf("%s %s: got %+v %v, want %+v", row.verb, row.payload, got, err, row.want)
		}
	}
}

func TestLeasePayloads(t *testing.T) {
	for payload, want := range map[string]time.Duration{`{"ttl":"5m"}`: 5 * time.Minute, `{"ttl":"0s"}`: 0, `{"ttl":"24h"}`: 24 * time.Hour} {
		if got, err := readTTL([]byte(payload)); err != nil || got != want {
			t.Errorf("%s: got %s %v, want %s", payload, got, err, want)
		}
	}
	for payload, code := range map[string]int{``: 400, `{}`: 400, `{"ttl":"-1s"}`: 400, `{"ttl":5}`: 400, `{"ttl":"24h1s"}`: 422, `{"TTL":"5m"}`: 400} {
		if got, err := readTTL([]byte(payload)); Code(err) != code {
			t.Errorf("%s: got %s %v, want code %d", payload, got, err, code)
		}
	}
}

// Nothing makes the decoder panic or accept what encoding/json would refuse, and no text of a sender gets through unbounded.
func FuzzCommand(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"replicas":3}`, `{"wait":"60s","id":"a"}`, `{"force":true}`, `{"replicas":1e9}`, `{"asleep_until":"18:00"}`, `{"awake_until":"","asleep_until":""}`, "{\"reason\":\"\xff\"}", `{"a":`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, verb := range verbs {
			c, err := parse(t, verb, string(payload), true)
			if err != nil && (!errors.Is(err, scaler.ErrInvalid) || len(err.Error()) > 1000) {
				t.Errorf("%s %q: %.1000v", verb, payload, err)
			}
			if n := len(c.ID) + len(c.Actor) + len(c.Reason) + len(c.Until); err == nil && n > maxCommandID+maxActor+maxReason+maxUntil {
				t.Errorf("%s: took %d bytes of text", verb, n)
			}
		}
		_, _ = readTTL(payload)
		if order, err := readOrderToPause(payload); err == nil && order.Since.IsZero() && !strings.Contains(string(payload), "0001-01-01") {
			t.Errorf("%q: paused since never", payload)
		}
	})
}

// One table says what an error is called on the wire.
func TestCodes(t *testing.T) {
	for err, code := range map[error]int{
		nil: 0, scaler.ErrInvalid: 400, scaler.ErrUnmanaged: 403, scaler.ErrUnknown: 404, scaler.ErrSuperseded: 409, scaler.ErrConflict: 409,
		scaler.ErrExpired: 410, scaler.ErrOutOfRange: 422, scaler.ErrNotSynced: 503, scaler.ErrFailed: 503, scaler.ErrNotInTime: 504,
		scaler.ErrUnsure: 503, scaler.ErrRefused: 500, errors.New("anything else"): 500,
	} {
		if got := Code(err); got != code {
			t.Errorf("%v: got %d, want %d", err, got, code)
		}
	}
}

// A deadline is an instant, or counts from when the stream has taken the command, so that nobody's clock has to agree with another's.
func TestDeadline(t *testing.T) {
	taken := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for header, want := range map[string]time.Time{
		"":                     {},
		"30s":                  taken.Add(30 * time.Second),
		"2026-01-02T03:05:00Z": taken.Add(55 * time.Second),
	} {
		var c scaler.Command
		if err := readDeadline(&c, header, taken); err != nil || !c.Deadline.Equal(want) {
			t.Errorf("%q: %s, want %s: %v", header, c.Deadline, want, err)
		}
	}
	for _, header := range []string{"soon", "30", "2026-01-02"} {
		if err := readDeadline(&scaler.Command{}, header, taken); !errors.Is(err, scaler.ErrInvalid) {
			t.Errorf("%q: %v", header, err)
		}
	}
}
