package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"idle-scaler/activity"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// prefix begins the name of every annotation that concerns this daemon: what people set (policy.Keys) and what it sets itself.
const prefix = "idle-scaler/"

// What the daemon sets: the fields of scaler.Mark.
const (
	keyRestore = "replicas"
	keyAsleep  = "asleep-since"
	keyBecause = "asleep-because"
	keyAwake   = "awake-since"
	keySeen    = "seen"    // SEQ@TIME: the sequence alone says nothing once the stream was made again
	keyDone    = "command" // SEQ@TIME ID
	keyFailed  = "failed"
	keyLast    = "last" // JSON
)

var markKeys = []string{keyBecause, keyAsleep, keyAwake, keyDone, keyFailed, keyLast, keyRestore, keySeen}

// How many bytes of a text are kept. All annotations of an object share 256 KiB, and others need room, too.
const (
	maxID   = 256
	maxText = 512
)

// lastEvent is scaler.Event as it is written: its server is the one that it is written on.
type lastEvent struct {
	ID      string `json:"id"`
	Type    string `json:"type"`
	At      string `json:"at"`
	From    int    `json:"from"`
	To      int    `json:"to"`
	Cause   string `json:"cause,omitempty"`
	Actor   string `json:"actor,omitempty"`
	Command string `json:"command,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Text    string `json:"text,omitempty"`
	Idle    string `json:"idle,omitempty"`
	Took    string `json:"took,omitempty"`
}

// settingsOf returns the annotations that people set, without the prefix.
func settingsOf(annotations map[string]string) map[string]string {
	var written map[string]string
	for name, value := range annotations {
		key, ours := strings.CutPrefix(name, prefix)
		if !ours || slices.Contains(markKeys, key) {
			continue
		}
		if written == nil {
			written = make(map[string]string)
		}
		written[key] = value
	}
	return written
}

// encodeMark returns the mark by key. What is zero is not in it.
func encodeMark(m scaler.Mark) map[string]string {
	marks := make(map[string]string)
	if m.Restore > 0 {
		marks[keyRestore] = strconv.Itoa(m.Restore)
	}
	if m.Because != "" {
		marks[keyBecause] = string(m.Because)
	}
	if !m.Asleep.IsZero() {
		marks[keyAsleep] = formatTime(m.Asleep)
	}
	if !m.Awake.IsZero() {
		marks[keyAwake] = formatTime(m.Awake)
	}
	if !m.Seen.IsZero() {
		marks[keySeen] = formatStamp(m.Seen)
	}
	if !m.Done.Stamp.IsZero() {
		marks[keyDone] = strings.TrimSuffix(formatStamp(m.Done.Stamp)+" "+cut(m.Done.ID, maxID), " ")
	}
	if m.Failed != "" {
		marks[keyFailed] = cut(m.Failed, 2*maxText)
	}
	if m.Last.ID != "" {
		marks[keyLast] = formatEvent(m.Last)
	}
	return marks
}

// decodeMark reads what encodeMark wrote. All errors are returned, joined; the mark is that of the keys that could be read.
func decodeMark(id scaler.ID, annotations map[string]string) (scaler.Mark, error) {
	var m scaler.Mark
	var errs []error
	read := func(key string, parse func(text string) error) {
		text, written := annotations[prefix+key]
		if !written {
			return
		}
		if err := parse(text); err != nil {
			errs = append(errs, fmt.Errorf("%s %q, which the daemon sets and can't read: %w: remove the annotation", key, cut(text, maxID), err))
		}
	}
	read(keyRestore, func(text string) (err error) { m.Restore, err = parseRestore(text); return })
	read(keyBecause, func(text string) (err error) { m.Because, err = parseBecause(text); return })
	read(keyAsleep, func(text string) (err error) { m.Asleep, err = parseTime(text); return })
	read(keyAwake, func(text string) (err error) { m.Awake, err = parseTime(text); return })
	read(keySeen, func(text string) (err error) { m.Seen, err = parseStamp(text); return })
	read(keyDone, func(text string) (err error) {
		stamp, command, _ := strings.Cut(text, " ")
		m.Done.Stamp, err = parseStamp(stamp)
		m.Done.ID = command
		return
	})
	read(keyFailed, func(text string) error { m.Failed = text; return nil })
	read(keyLast, func(text string) (err error) { m.Last, err = parseEvent(text, id); return })
	return m, errors.Join(errs...)
}

func parseRestore(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0, errors.New("not a whole number of at least 1")
	}
	return n, nil
}

func parseBecause(text string) (policy.Because, error) {
	switch because := policy.Because(text); because {
	case policy.BecauseIdle, policy.BecauseCommand:
		return because, nil
	}
	return "", errors.New("no known cause")
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 { // what a zone can make of a year at the edge
		return time.Time{}, errors.New("not a time")
	}
	return t, nil
}

func formatStamp(s activity.Stamp) string {
	return strconv.FormatUint(s.Sequence, 10) + "@" + formatTime(s.Time)
}

func parseStamp(text string) (activity.Stamp, error) {
	sequence, at, _ := strings.Cut(text, "@")
	n, err := strconv.ParseUint(sequence, 10, 64)
	if err != nil {
		return activity.Stamp{}, errors.New("no sequence")
	}
	t, err := parseTime(at)
	if err != nil {
		return activity.Stamp{}, err
	}
	return activity.Stamp{Sequence: n, Time: t}, nil
}

func formatEvent(e scaler.Event) string {
	text, _ := json.Marshal(lastEvent{ // strings and numbers only: it can't fail
		ID: cut(e.ID, maxID), Type: string(e.Type), At: formatTime(e.At), From: e.From, To: e.To, Cause: string(e.Cause),
		Actor: cut(e.Actor, maxID), Command: cut(e.Command, maxID), Reason: cut(e.Reason, maxText), Text: cut(e.Text, maxText),
		Idle: formatDuration(e.Idle), Took: formatDuration(e.Took),
	})
	return string(text)
}

func parseEvent(text string, id scaler.ID) (scaler.Event, error) {
	var l lastEvent
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return scaler.Event{}, err
	}
	at, err := parseTime(l.At)
	if err != nil {
		return scaler.Event{}, err
	}
	idle, err := parseDuration(l.Idle)
	if err != nil {
		return scaler.Event{}, err
	}
	took, err := parseDuration(l.Took)
	if err != nil {
		return scaler.Event{}, err
	}
	return scaler.Event{
		ID: l.ID, Type: scaler.EventType(l.Type), Server: id, At: at, From: l.From, To: l.To, Cause: scaler.Cause(l.Cause),
		Actor: l.Actor, Command: l.Command, Reason: l.Reason, Text: l.Text, Idle: idle, Took: took,
	}, nil
}

func formatDuration(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func parseDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return time.ParseDuration(text)
}

// cut returns the text, or as much of its beginning as fits into size bytes, in valid UTF-8 as JSON and Kubernetes want it.
func cut(text string, size int) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if len(text) <= size {
		return text
	}
	const more = "…"
	end := size - len(more)
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}
