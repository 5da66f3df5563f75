package policy

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
)

// Source is where a setting is written.
type Source string

// The sources, in the order in which one beats the other.
const (
	FromServer    Source = "annotation"
	FromNamespace Source = "namespace"
	FromConfig    Source = "configuration"
	FromDefault   Source = "default"
)

// Layer is what is written in one place, by key.
type Layer struct {
	Source  Source
	Written map[string]string
}

// Parse reads the settings of one server from all places where they are written. If several places
// have a key, the last layer counts. It returns the source of each key that is written anywhere. An
// unknown key is an error like a bad value: a misspelt "idle-after: never" must not let the server
// sleep. All errors are returned, joined, that of the time zone first and the others in order of
// key. The Settings are then those of the keys that could be read.
func Parse(layers ...Layer) (Settings, map[string]Source, error) {
	entries, sources := collect(layers)
	s := defaults
	if len(entries) == 0 {
		return s, nil, nil
	}
	digest := fnv.New64a()
	var errs []error
	for _, e := range entries {
		fmt.Fprintf(digest, "%q=%q\n", e.key, e.text)
		if err := e.read(&s); err != nil {
			errs = append(errs, fmt.Errorf("%s %q%s: %w", e.key, e.text, e.source.written(), err))
		}
	}
	s.Digest = strconv.FormatUint(digest.Sum64(), 36)
	if len(errs) == 0 {
		errs = append(errs, s.contradiction(sources))
	}
	return s, sources, errors.Join(errs...)
}

// entry is one setting as it is written in one place.
type entry struct {
	key, text string
	source    Source
}

func (e entry) read(s *Settings) error {
	row := find(e.key)
	switch {
	case row == nil:
		return fmt.Errorf("unknown setting; known are %s", strings.Join(Keys(FromServer), ", "))
	case row.In(e.source):
		return row.read(s, strings.TrimSpace(e.text))
	case row.In(FromNamespace):
		return errors.New("it is a setting of a server or a namespace: write it there")
	}
	return errors.New("it is a setting of a single server: write it there")
}

// collect returns the entries that count, in the order in which they are read, and entries that are
// in the wrong place or of an unknown key, wherever they are written.
func collect(layers []Layer) ([]entry, map[string]Source) {
	var entries []entry
	var sources map[string]Source
	for _, layer := range slices.Backward(layers) {
		for key, text := range layer.Written {
			_, beaten := sources[key]
			if row := find(key); beaten && row != nil && row.In(layer.Source) {
				continue
			}
			if sources == nil {
				sources = make(map[string]Source, len(layer.Written))
			}
			if !beaten {
				sources[key] = layer.Source
			}
			entries = append(entries, entry{key, text, layer.Source})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		switch {
		case a.key != b.key && a.key == zoneKey:
			return -1
		case a.key != b.key && b.key == zoneKey:
			return 1
		}
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.source, b.source))
	})
	return entries, sources
}

// written says in an error where something is written, unless that is where everybody looks first.
func (s Source) written() string {
	if s == FromServer || s == FromDefault || s == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", s)
}
