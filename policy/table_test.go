package policy_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	. "idle-scaler/policy"
)

// Each row is complete: it says what it means and where it may be written, and its first example
// changes something. What may be written in the configuration has the usage of a flag, and nothing
// else has; each default can be read, and is of a type that a flag can have.
func TestTable(t *testing.T) {
	seen := make(map[string]bool)
	for _, row := range Table {
		switch {
		case seen[row.Key]:
			t.Errorf("%s is there twice", row.Key)
		case row.Meaning == "" || len(row.Examples) == 0:
			t.Errorf("%s has no meaning, or no example", row.Key)
		case !row.In(FromServer):
			t.Errorf("%s can't be written on a server: %q", row.Key, row.Where)
		case row.In(FromConfig) != (row.Usage != ""):
			t.Errorf("%s may be written in %q, and its flag says %q", row.Key, row.Where, row.Usage)
		case same(reads(t, row, row.Examples[0]), defaults):
			t.Errorf("%s: %q changes nothing", row.Key, row.Examples[0])
		}
		seen[row.Key] = true
		if row.Default != "" {
			reads(t, row, fmt.Sprint(row.Default))
		}
		switch row.Default.(type) {
		case string, int, bool, time.Duration:
		default:
			t.Errorf("%s: no flag has the type of %v", row.Key, row.Default)
		}
	}
}

// Each example can be written. The setting then says it in the same words, and no other setting
// says anything new.
func TestTextIsReadAgain(t *testing.T) {
	for _, row := range Table {
		for _, example := range row.Examples {
			s := reads(t, row, example)
			text := row.Text(&s)
			if text != example || !same(reads(t, row, text), s) {
				t.Errorf("%s: %q became %q", row.Key, example, text)
			}
			for _, other := range Table {
				if other.Key != row.Key && other.Text(&s) != other.Text(&defaults) {
					t.Errorf("%s: %q made %s %s", row.Key, example, other.Key, other.Text(&s))
				}
			}
		}
	}
}

// Whoever shows a value knows it by its type; a new type would be shown as Go prints it. Each field
// of Settings has its row: without one it could not be written.
func TestValues(t *testing.T) {
	changed := make(map[string]bool)
	for _, row := range Table {
		s := reads(t, row, row.Examples[0])
		switch row.Value(&s).(type) {
		case string, int, bool, time.Duration, []string:
		default:
			t.Errorf("%s is a %T", row.Key, row.Value(&s))
		}
		a, b := reflect.ValueOf(s), reflect.ValueOf(defaults)
		for i := range a.NumField() {
			if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
				changed[a.Type().Field(i).Name] = true
			}
		}
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
		if !changed[field.Name] && field.Name != "Digest" {
			t.Errorf("no row of the table changes %s", field.Name)
		}
	}
}

// What can't be read changes nothing, not even the setting itself.
func TestReadChangesNothingOnError(t *testing.T) {
	for _, row := range Table {
		s := reads(t, row, row.Examples[0])
		before := row.Text(&s)
		if err := row.Read(&s, ""); err == nil || row.Text(&s) != before {
			t.Errorf("%s: %v, and it is %s, it was %s", row.Key, err, row.Text(&s), before)
		}
	}
}

// reads returns the defaults with one setting written over them.
func reads(t *testing.T, row Setting, text string) Settings {
	t.Helper()
	s := defaults
	if err := row.Read(&s, text); err != nil {
		t.Errorf("%s: %q: %v", row.Key, text, err)
	}
	return s
}
