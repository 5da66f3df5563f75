package policy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	. "idle-scaler/policy"
)

// A server's annotation beats its namespace's, which beats the configuration, which beats the
// default, for each key by itself.
func TestParseLayers(t *testing.T) {
	config := layer(FromConfig, "idle-after", "1h", "max-replicas", "5", "keep-warm", "0 9 * * * for 9h")
	namespace := layer(FromNamespace, "idle-after", "2h", "wake-replicas", "2", "paused", "true")
	server := onServer("idle-after", "3h", "keep-warm", "none", "group", "bots")
	for _, r := range []struct {
		name    string
		layers  []Layer
		idle    time.Duration
		sources map[string]Source
	}{
		{"nothing", nil, 30 * time.Minute, nil},
		{"empty layers", []Layer{{Source: FromConfig}, layer(FromNamespace), onServer()}, 30 * time.Minute, nil},
		{"configuration", []Layer{config}, time.Hour, map[string]Source{"idle-after": FromConfig, "max-replicas": FromConfig, "keep-warm": FromConfig}},
		{"namespace", []Layer{config, namespace}, 2 * time.Hour, map[string]Source{
			"idle-after": FromNamespace, "max-replicas": FromConfig, "keep-warm": FromConfig, "wake-replicas": FromNamespace, "paused": FromNamespace,
		}},
		{"server", []Layer{config, namespace, server}, 3 * time.Hour, map[string]Source{
			"idle-after": FromServer, "max-replicas": FromConfig, "keep-warm": FromServer, "wake-replicas": FromNamespace, "paused": FromNamespace, "group": FromServer,
		}},
	} {
		s, sources, err := Parse(r.layers...)
		if err != nil || s.IdleAfter != r.idle || !maps.Equal(sources, r.sources) {
			t.Errorf("%s: idle-after %s, %v, %v; want %s, %v", r.name, s.IdleAfter, sources, err, r.idle, r.sources)
		}
	}
	s, _, err := Parse(config, namespace, server)
	if err != nil || len(s.KeepWarm) != 0 || s.MaxReplicas != 5 || s.WakeReplicas != 2 || !s.Paused || s.Group != "bots" {
		t.Errorf("%+v, %v", s, err)
	}
	for name, paused := range map[string]Layer{"a server may go on while its namespace is paused": onServer("paused", "false"), "its own pause": layer(FromNamespace)} {
		if s, _, err := Parse(layer(FromNamespace, "paused", "true"), paused); err != nil || s.Paused != (paused.Source == FromNamespace) {
			t.Errorf("%s: paused is %v, %v", name, s.Paused, err)
		}
	}
}

// An error says where the mistake is written, unless it is on the server itself. A mistake that
// another layer beats harms nobody. A key in the wrong place is always a mistake, because somebody
// meant it to do something.
func TestParseLayersErrors(t *testing.T) {
	for _, r := range []struct {
		name   string
		layers []Layer
		says   string // empty: no error
	}{
		{"on the server", []Layer{onServer("idle-after", "soon")}, `idle-after "soon": not a duration`},
		{"on the namespace", []Layer{layer(FromNamespace, "idle-after", "soon")}, `idle-after "soon" (namespace): not a duration`},
		{"in the configuration", []Layer{layer(FromConfig, "idle-after", "soon")}, `idle-after "soon" (configuration): not a duration`},
		{"beaten", []Layer{layer(FromNamespace, "idle-after", "soon"), onServer("idle-after", "1h")}, ""},
		{"unknown on the namespace", []Layer{layer(FromNamespace, "idle-afer", "1h")}, `idle-afer "1h" (namespace): unknown setting; known are after, `},
		{"unknown in both", []Layer{layer(FromNamespace, "x", "1"), onServer("x", "2")}, "x \"2\": unknown setting; known are " + strings.Join(Keys(FromServer), ", ") + "\nx \"1\" (namespace): unknown setting"},
		{"a group for a namespace", []Layer{layer(FromNamespace, "group", "bots")}, `group "bots" (namespace): it is a setting of a single server: write it there`},
		{"the same, and one of the server", []Layer{layer(FromNamespace, "group", "bots"), onServer("group", "bots")}, `group "bots" (namespace): it is a setting of a single server`},
		{"after for all", []Layer{layer(FromConfig, "after", "db")}, `after "db" (configuration): it is a setting of a single server`},
		{"paused for all", []Layer{layer(FromConfig, "paused", "true")}, `paused "true" (configuration): it is a setting of a server or a namespace: write it there`},
		{"a contradiction of two places", []Layer{layer(FromConfig, "max-replicas", "5"), layer(FromNamespace, "wake-replicas", "8")}, "wake-replicas 8 (namespace) is above max-replicas 5 (configuration): raise max-replicas"},
	} {
		_, sources, err := Parse(r.layers...)
		if r.says == "" && err != nil || r.says != "" && (err == nil || !strings.Contains(err.Error(), r.says)) {
			t.Errorf("%s: error %v, want one with %q", r.name, err, r.says)
		}
		if last := r.layers[len(r.layers)-1]; len(r.layers) > 1 && last.Source == FromServer && sources[slices.Sorted(maps.Keys(last.Written))[0]] != FromServer {
			t.Errorf("%s: sources are %v, want that of the server to count", r.name, sources)
		}
	}
}

// A setting may be written on a server, on its namespace and in the configuration. Paused is no
// setting for all servers, and group and after are about one. In a wrong place each is an error
// that says where to write it.
func TestPlaces(t *testing.T) {
	elsewhere := map[string][]Source{"paused": {FromConfig}, "group": {FromConfig, FromNamespace}, "after": {FromConfig, FromNamespace}}
	for _, row := range Table {
		for _, place := range []Source{FromServer, FromNamespace, FromConfig} {
			known := !slices.Contains(elsewhere[row.Key], place)
			_, _, err := Parse(layer(place, row.Key, "\x00"))
			if err == nil || known == strings.Contains(err.Error(), "write it there") || strings.Contains(err.Error(), "unknown setting") {
				t.Errorf("%s of a %s: %v", row.Key, place, err)
			}
			if slices.Contains(Keys(place), row.Key) != known {
				t.Errorf("the keys of a %s are %q", place, Keys(place))
			}
		}
	}
}

// The digest changes exactly when a setting that counts is changed, added or removed, in any place.
// The order of the places, and a setting that another one beats, do not change it.
func TestDigest(t *testing.T) {
	values := map[string][]string{"idle-after": {"1h", "60m", "never"}, "paused": {"true", "false"}, "wake-replicas": {"1", "2"}}
	someLayer := func(t *rapid.T, source Source) Layer {
		l := layer(source)
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if Find(key).In(source) && rapid.Bool().Draw(t, key) {
				l.Written[key] = rapid.SampledFrom(values[key]).Draw(t, "value")
			}
		}
		return l
	}
	rapid.Check(t, func(t *rapid.T) {
		var digests []string
		var counts []map[string]string
		for range 2 {
			layers := []Layer{someLayer(t, FromConfig), someLayer(t, FromNamespace), someLayer(t, FromServer)}
			written := make(map[string]string)
			for _, l := range layers {
				maps.Copy(written, l.Written)
			}
			s, _, _ := Parse(layers...)
			digests, counts = append(digests, s.Digest), append(counts, written)
			if (s.Digest == "") != (len(written) == 0) {
				t.Fatalf("%v: the digest is %q", written, s.Digest)
			}
		}
		if equal := maps.Equal(counts[0], counts[1]); (digests[0] == digests[1]) != equal {
			t.Fatalf("%v has %s, %v has %s", counts[0], digests[0], counts[1], digests[1])
		}
	})
	one, _, _ := Parse(onServer("a", "b\nc=d"))
	two, _, _ := Parse(onServer("a", "b", "c", "d"))
	if one.Digest == two.Digest {
		t.Error("a value with a line end looks like two settings")
	}
}
