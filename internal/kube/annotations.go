package kube

import (
	"errors"
	"fmt"
	"maps"
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
	keyHold    = "hold"    // JSON
	keyReverts = "reverts" // JSON
	keyLast    = "last"    // JSON; another value in each write, so that whoever owns it has written the marks
)

// markKeys are all of them. One that is missing here would be taken for a setting that nobody knows, and never be removed.
var markKeys = []string{keyBecause, keyAsleep, keyAwake, keyDone, keyFailed, keyHold, keyLast, keyRestore, keyReverts, keySeen}

// How many bytes of a text are kept. All annotations of an object share 256 KiB, and others need room, too.
const (
	maxID   = 256
	maxText = 512
)

// settingsOf returns the annotations of a Deployment that people set, without the prefix; nil when there are none.
func settingsOf(annotations map[string]string) map[string]string {
	written := concerning(annotations)
	for _, key := range markKeys {
		delete(written, key)
	}
	if len(written) == 0 {
		return nil
	}
	return written
}

// concerning returns the annotations that concern the daemon, without the prefix; nil when there are none.
func concerning(annotations map[string]string) map[string]string {
	var written map[string]string
	for name, value := range annotations {
		key, ours := strings.CutPrefix(name, prefix)
		if !ours {
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
	if !m.Hold.Until.IsZero() {
		marks[keyHold] = formatHold(m.Hold)
	}
	if m.Reverts.Count > 0 {
		marks[keyReverts] = formatReverts(m.Reverts)
	}
	if m.Last.ID != "" {
		marks[keyLast] = formatEvent(m.Last, append(slices.Sorted(maps.Keys(marks)), keyLast))
	}
	return marks
}

// decodeMark reads what encodeMark wrote. All errors are returned, joined; the mark is that of the keys that could be read. A key that was
// not written with the last transition came back since, and says nothing: "kubectl rollout undo" does that even where it changes no other.
func decodeMark(id scaler.ID, annotations map[string]string) (scaler.Mark, error) {
	var m scaler.Mark
	var errs []error
	var together []string
	read := func(key string, parse func(text string) error) {
		text, written := annotations[prefix+key]
		if !written || together != nil && !slices.Contains(together, key) {
			return
		}
		if err := parse(text); err != nil {
			errs = append(errs, fmt.Errorf("%s %q, which the daemon sets and can't read: %w: remove the annotation", key, cut(text, maxID), err))
		}
	}
	read(keyLast, func(text string) (err error) { m.Last, together, err = parseEvent(text, id); return })
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
	read(keyHold, func(text string) (err error) { m.Hold, err = parseHold(text); return })
	read(keyReverts, func(text string) (err error) { m.Reverts, err = parseReverts(text); return })
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
	case policy.BecauseIdle, policy.BecauseSchedule, policy.BecauseCommand, policy.BecauseHold, policy.BecauseAfter:
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
