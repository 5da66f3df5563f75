package bus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"idle-scaler/scaler"
)

// maxPayload is the largest payload that is read.
const maxPayload = 64 << 10

// fields are the names that an object may have, and where each goes: *string, *bool, *int, *time.Duration.
type fields map[string]any

// decode reads a flat JSON object, and returns which fields it had. An empty payload is an object without fields. It is stricter
// than encoding/json, which takes "REPLICAS" for "replicas", null for anything and the last of two equal names: whatever
// could mean something else than what is done is an error, and nothing is guessed.
func decode(payload []byte, to fields) (has map[string]bool, err error) {
	has = make(map[string]bool)
	switch {
	case len(payload) == 0:
		return has, nil
	case len(payload) > maxPayload:
		return has, invalid("the payload has %d bytes: send at most %d", len(payload), maxPayload)
	case !utf8.Valid(payload):
		return has, invalid("the payload is not valid UTF-8: send a JSON object in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return has, invalid("the payload is not a JSON object: write %s", to.example())
	}
	for d.More() {
		token, err := d.Token()
		name, _ := token.(string)
		if err != nil {
			return has, invalid("the payload is not valid JSON at byte %d: write %s", d.InputOffset(), to.example())
		}
		target, known := to[name]
		if !known {
			return has, invalid("unknown field %q: %s", shorten(name), to.allowed())
		}
		if has[name] {
			return has, invalid("field %q is there twice: write it once", name)
		}
		has[name] = true
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return has, invalid("the payload is not valid JSON at byte %d: write %s", d.InputOffset(), to.example())
		}
		if err := store(target, string(raw)); err != nil {
			return has, fmt.Errorf("%w: %s %s: %w", scaler.ErrInvalid, name, shorten(string(raw)), err)
		}
	}
	if _, err := d.Token(); err != nil {
		return has, invalid("the payload is not valid JSON at byte %d: write %s", d.InputOffset(), to.example())
	}
	if _, err := d.Token(); err != io.EOF {
		return has, invalid("the payload goes on after its JSON object: send one object and nothing else")
	}
	return has, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", scaler.ErrInvalid, fmt.Sprintf(format, args...))
}

// store writes one value to where it goes. The errors say what to write instead.
func store(target any, raw string) error {
	switch target := target.(type) {
	case *string:
		if raw[0] != '"' {
			return fmt.Errorf("write text, in quotes")
		}
		return json.Unmarshal([]byte(raw), target)
	case *bool:
		if raw != "true" && raw != "false" {
			return fmt.Errorf("write true or false, without quotes")
		}
		*target = raw == "true"
	case *int:
		n, err := strconv.ParseInt(raw, 10, 32)
		if err != nil && !isWhole(raw) {
			return fmt.Errorf("write a whole number, without quotes, like 3")
		}
		*target = int(n) // of a number that is too large the largest there is: out of every range
	case *time.Duration:
		var text string
		if raw[0] != '"' || json.Unmarshal([]byte(raw), &text) != nil {
			return fmt.Errorf(`write a duration as text with its unit, like "60s"`)
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf(`not a duration: write it with its unit, like "60s" or "5m"`)
		}
		*target = d
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
