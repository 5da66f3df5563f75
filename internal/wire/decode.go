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

// fields are the names that an object may have, and the variable of each: *string, text, *bool,
// *int, *time.Duration, *time.Time, *ID.
type fields map[string]any

// text is a string that its sender chooses, of at most so many bytes.
type text struct {
	to   *string
	most int
}

// decode reads a flat JSON object, and returns which fields it had. An empty payload is an object
// without fields. It is stricter than encoding/json, which takes "REPLICAS" for "replicas", null
// for anything, and the last of two equal names. Here all of that is an error: nothing is guessed.
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
	var object json.RawMessage
	err = d.Decode(&object)
	_, end := d.Token()
	switch {
	case !strings.HasPrefix(strings.TrimSpace(string(payload)), "{"):
		return has, invalid("the payload is not a JSON object: write %s", to.example())
	case err != nil:
		return has, invalid("the payload is not valid JSON (%v): write %s", err, to.example())
	case end != io.EOF:
		return has, invalid("the payload goes on after its JSON object: send one object and nothing else")
	}
	d = json.NewDecoder(bytes.NewReader(object)) // no error any more: it is valid JSON
	_, _ = d.Token()
	for d.More() {
		token, _ := d.Token()
		name := token.(string)
		var value json.RawMessage
		_ = d.Decode(&value)
		target, known := to[name]
		switch {
		case !known:
			return has, invalid("unknown field %q: %s", Shorten(name), to.allowed())
		case has[name]:
			return has, invalid("field %q is there twice: write it once", name)
		}
		has[name] = true
		if err := set(name, target, value); err != nil {
			return has, fmt.Errorf("%w: %s %s: %w", ErrInvalid, name, Shorten(string(value)), err)
		}
	}
	return has, nil
}

// set writes one value to its variable. The errors say what to write instead.
func set(name string, to any, value json.RawMessage) (err error) {
	switch to := to.(type) {
	case text:
		err := set(name, to.to, value)
		if n := len(*to.to); err == nil && n > to.most {
			*to.to = Shorten(*to.to) // it ends up in an event all the same
			err = fmt.Errorf("%s has %d bytes: write at most %d", name, n, to.most)
		}
		return err
	case *int:
		n, bad := strconv.ParseInt(string(value), 10, 32)
		*to = int(n) // a number that is too large becomes the largest, which is out of every range
		if strings.Trim(string(value), "-0123456789") != "" {
			err = bad
		}
	case *time.Duration:
		var words string
		if err = json.Unmarshal(value, &words); err == nil {
			*to, err = time.ParseDuration(words)
		}
	case *time.Time:
		err = json.Unmarshal(value, to)
		*to = to.UTC()
	case *ID:
		var words string
		if err = json.Unmarshal(value, &words); words != "" {
			to.Namespace, to.Name, _ = strings.Cut(words, "/")
			err = CheckID(*to)
		}
	default:
		err = json.Unmarshal(value, to)
	}
	if err != nil || string(value) == "null" {
		_, hint := shape(to)
		err = errors.New("write " + hint)
	}
	return err
}

// shape returns a value for a variable, and what to write.
func shape(to any) (example, hint string) {
	switch to.(type) {
	case *string, text:
		return `"..."`, "text, in quotes"
	case *bool:
		return "true", "true or false, without quotes"
	case *int:
		return "3", "a whole number, without quotes, like 3"
	case *time.Duration:
		return `"60s"`, `a duration as text with its unit, like "60s" or "5m"`
	case *time.Time:
		return `"2026-01-02T15:04:05Z"`, `an instant like "2026-01-02T15:04:05Z"`
	case *ID:
		return `"NAMESPACE/NAME"`, `the "next" of the page before`
	}
	panic(fmt.Sprintf("no JSON is read into a %T", to))
}

func (f fields) allowed() string {
	if len(f) == 0 {
		return "send no payload"
	}
	return "use only " + strings.Join(slices.Sorted(maps.Keys(f)), ", ")
}

func (f fields) example() string {
	for _, name := range []string{"replicas", "ttl", "limit", "wait", "force", "reason"} {
		if to, known := f[name]; known {
			value, _ := shape(to)
			return fmt.Sprintf("an object like {%q:%s}", name, value)
		}
	}
	return "an object, or nothing at all"
}
