package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxPayload is the largest payload in bytes that is read.
const MaxPayload = 64 << 10

// CheckEmpty returns an error if a request that takes no payload has one.
func CheckEmpty(payload []byte) error {
	_, err := decode(payload, fields{})
	return err
}

// fields are the names that an object may have, and the variable of each: *string, *bool, *int,
// *time.Duration, *time.Time.
type fields map[string]any

// decode reads a flat JSON object, and returns which fields it had. An empty payload is an object
// without fields. It is stricter than encoding/json, which takes "REPLICAS" for "replicas", null
// for anything and the last of two equal names: whatever could mean something else than what is
// done is an error, and nothing is guessed.
func decode(payload []byte, to fields) (has map[string]bool, err error) {
	has = make(map[string]bool)
	switch {
	case len(payload) == 0:
		return has, nil
	case len(payload) > MaxPayload:
		return has, invalid("the payload has %d bytes: send at most %d", len(payload), MaxPayload)
	case !utf8.Valid(payload):
		return has, invalid("the payload is not valid UTF-8: send a JSON object in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return has, invalid("the payload is not a JSON object: write %s", to.example())
	}
	notJSON := func() error {
		return invalid("the payload is not valid JSON at byte %d: write %s", d.InputOffset(), to.example())
	}
	for d.More() {
		token, err := d.Token()
		name, _ := token.(string)
		if err != nil {
			return has, notJSON()
		}
		target, known := to[name]
		if !known {
			return has, invalid("unknown field %q: %s", Shorten(name), to.allowed())
		}
		if has[name] {
			return has, invalid("field %q is there twice: write it once", name)
		}
		has[name] = true
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return has, notJSON()
		}
		if err := store(target, string(raw)); err != nil {
			return has, fmt.Errorf("%w: %s %s: %w", ErrInvalid, name, Shorten(string(raw)), err)
		}
	}
	if _, err := d.Token(); err != nil {
		return has, notJSON()
	}
	if _, err := d.Token(); err != io.EOF {
		return has, invalid("the payload goes on after its JSON object: send one object and nothing else")
	}
	return has, nil
}

// store writes one value to its variable. The errors say what to write instead.
func store(target any, raw string) error {
	text, isText := "", raw[0] == '"'
	if isText {
		if err := json.Unmarshal([]byte(raw), &text); err != nil {
			return err
		}
	}
	switch target := target.(type) {
	case *string:
		if !isText {
			return errors.New("write text, in quotes")
		}
		*target = text
	case *bool:
		if raw != "true" && raw != "false" {
			return errors.New("write true or false, without quotes")
		}
		*target = raw == "true"
	case *int:
		n, err := strconv.ParseInt(raw, 10, 32)
		if err != nil && !isWhole(raw) {
			return errors.New("write a whole number, without quotes, like 3")
		}
		*target = int(n) // a number that is too large becomes the largest there is: out of every range
	case *time.Duration:
		if !isText {
			return errors.New(`write a duration as text with its unit, like "60s"`)
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New(`not a duration: write it with its unit, like "60s" or "5m"`)
		}
		*target = d
	case *time.Time:
		t, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return errors.New(`write an instant like "2026-01-02T15:04:05Z"`)
		}
		*target = t.UTC()
	default:
		panic(fmt.Sprintf("no JSON is read into a %T", target))
	}
	return nil
}

func isWhole(raw string) bool {
	digits := strings.TrimPrefix(raw, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

func (f fields) allowed() string {
	if len(f) == 0 {
		return "send no payload"
	}
	return "use only " + strings.Join(slices.Sorted(maps.Keys(f)), ", ")
}

func (f fields) example() string {
	for _, name := range []string{"replicas", "ttl", "limit", "wait", "force", "reason"} {
		switch f[name].(type) {
		case *int:
			return fmt.Sprintf(`an object like {%q:3}`, name)
		case *time.Duration:
			return fmt.Sprintf(`an object like {%q:"60s"}`, name)
		case *bool:
			return fmt.Sprintf(`an object like {%q:true}`, name)
		case *string:
			return fmt.Sprintf(`an object like {%q:"..."}`, name)
		}
	}
	return "an object, or nothing at all"
}

// freeText is text that its sender chooses, up to a length in bytes.
type freeText struct {
	field string
	value *string
	most  int
}

// checkTexts returns an error for a text that is too long, and shortens it: it ends up in an event.
func checkTexts(verb string, texts ...freeText) (err error) {
	for _, t := range texts {
		if n := len(*t.value); n > t.most {
			*t.value = Shorten(*t.value)
			err = invalid("%s: %s has %d bytes: write at most %d", verb, t.field, n, t.most)
		}
	}
	return err
}
