package wire

import (
	"errors"
	"strings"
	"testing"
)

// A subject has a verb or type first, then the namespace, then the name, which may contain dots.
// Parsing returns what it was built from.
func TestSubjectsRoundTrip(t *testing.T) {
	s, err := NewSubjects(DefaultPrefix)
	check(t, err)
	for _, id := range []ID{web, files, {Namespace: "0", Name: strings.Repeat("a", 253)}} {
		if verb, got, err := s.ParseCommand(s.Command(VerbScale, id)); verb != VerbScale || got != id || err != nil {
			t.Errorf("command: got %s %s %v, want scale %s", verb, got, err, id)
		}
		if got, err := s.ParseActivity(s.Activity(id)); got != id || err != nil {
			t.Errorf("activity: got %s %v, want %s", got, err, id)
		}
		if holder, got, err := s.ParseLease(s.Lease("gw-1/x", id)); holder != "gw-1/x" || got != id || err != nil {
			t.Errorf("lease: got %s %s %v, want gw-1/x %s", holder, got, err, id)
		}
		for _, scope := range []ID{{}, {Namespace: id.Namespace}, id} {
			if got, err := s.ParsePause(s.Pause(scope)); got != scope || err != nil {
				t.Errorf("pause: got %s %v, want %s", got, err, scope)
			}
		}
		if kind, got, err := s.ParseEvent(s.Event("woken", id)); kind != "woken" || got != id || err != nil {
			t.Errorf("event: got %s %s %v, want woken %s", kind, got, err, id)
		}
	}
	for subject, want := range map[string]string{
		s.Command(VerbStart, files):                "cortex.mcp.command.start.team-b.files.v2",
		s.Activity(web):                            "cortex.mcp.activity.team-a.web",
		s.Lease("gw", web):                         "cortex.mcp.lease.gw.team-a.web",
		s.Pause(ID{}):                              "cortex.mcp.pause.all",
		s.Pause(ID{Namespace: "all"}):              "cortex.mcp.pause.namespace.all",
		s.Pause(files):                             "cortex.mcp.pause.server.team-b.files.v2",
		s.Request("list", ID{}):                    "cortex.mcp.api.list",
		s.Request("list", ID{Namespace: "team-a"}): "cortex.mcp.api.list.team-a",
		s.Request("status", web):                   "cortex.mcp.api.status.team-a.web",
		s.Event("slept", web):                      "cortex.mcp.event.slept.team-a.web",
		s.Event("rejected", ID{}):                  "cortex.mcp.event.rejected._._",
		s.Event("rejected", ID{Name: "a..*.>"}):    "cortex.mcp.event.rejected._.a._._._",
	} {
		if subject != want {
			t.Errorf("got %s, want %s", subject, want)
		}
	}
}

// A subject of no possible Deployment is an error that says what to write. The result has as much
// as could be read.
func TestSubjectsThatMakeNoSense(t *testing.T) {
	s, err := NewSubjects(DefaultPrefix)
	check(t, err)
	for subject, want := range map[string]string{
		"cortex.mcp.command.start.team-a":                               "name",
		"cortex.mcp.command.start":                                      "namespace",
		"cortex.mcp.command.start..web":                                 "namespace",
		"cortex.mcp.command.start.team-a.":                              "name",
		"cortex.mcp.command.start.team-a.web..x":                        "name",
		"cortex.mcp.command.start.team-a.-web":                          "name",
		"cortex.mcp.command.start.team-a.web-":                          "name",
		"cortex.mcp.command.start.team-a.Web":                           "name",
		"cortex.mcp.command.start.team_a.web":                           "namespace",
		"cortex.mcp.command.start.*.web":                                "namespace",
		"cortex.mcp.command.start.team-a.>":                             "name",
		"cortex.mcp.command.start.team-a.wéb":                           "name",
		"cortex.mcp.command.start." + strings.Repeat("a", 64) + ".web":  "at most 63",
		"cortex.mcp.command.start.team-a." + strings.Repeat("a.", 127):  "at most 253",
		"cortex.mcp.command.start.team-a." + strings.Repeat("a", 254):   "at most 253",
		"cortex.mcp.command.boot.team-a.web":                            "use start, stop, scale, hold or release",
		"cortex.mcp.command..team-a.web":                                "use start, stop, scale, hold or release",
		"cortex.other.command.start.team-a.web":                         "does not begin",
		"cortex.mcp.command.start.team-a." + strings.Repeat("X", 1<<20): "...",
	} {
		_, _, err := s.ParseCommand(subject)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%.80s: got %.300v, want an invalid one with %q", subject, err, want)
		}
	}
	_, id, err := s.ParseCommand("cortex.mcp.command.start.team-a.Web")
	if err == nil || id != (ID{Namespace: "team-a", Name: "Web"}) {
		t.Errorf("got %s %v, want what could be read", id, err)
	}
	for _, scope := range []string{
		"", "all.", "all.x", "namespace", "namespace.", "namespace.team-a.web", "namespace.Team",
		"server", "server.team-a", "server.team-a.Web", "boat.team-a",
	} {
		if got, err := s.ParsePause("cortex.mcp.pause." + scope); !errors.Is(err, ErrInvalid) {
			t.Errorf("pause.%s: got %s %v, want invalid", scope, got, err)
		}
	}
	for _, holder := range []string{"", "a*", "a>", "a b", "ä", strings.Repeat("a", 129)} {
		if _, _, err := s.ParseLease("cortex.mcp.lease." + holder + ".team-a.web"); !errors.Is(err, ErrInvalid) {
			t.Errorf("holder %q: got %v, want invalid", holder, err)
		}
	}
}

// There is a subject for the events of one server, of a namespace, and of all.
func TestSubjectsOfEvents(t *testing.T) {
	s, err := NewSubjects(DefaultPrefix)
	check(t, err)
	for want, scope := range map[string]ID{
		"cortex.mcp.event.>":                 {},
		"cortex.mcp.event.*.team-a.>":        {Namespace: "team-a"},
		"cortex.mcp.event.*.team-b.files.v2": files,
	} {
		if got := s.Events(scope); got != want {
			t.Errorf("%v: got %s, want %s", scope, got, want)
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, prefix := range []string{
		"", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b", "$SYS.x", "_INBOX.x", strings.Repeat("a", 101),
	} {
		if _, err := NewSubjects(prefix); err == nil {
			t.Errorf("%q is taken", prefix)
		}
	}
}

// A ping allocates nothing beyond its message.
func TestParseActivityDoesNotAllocate(t *testing.T) {
	s, err := NewSubjects(DefaultPrefix)
	check(t, err)
	subject := s.Activity(files)
	if n := testing.AllocsPerRun(100, func() { _, _ = s.ParseActivity(subject) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Each subject that is parsed without an error is built again exactly. No subject makes the parser
// panic.
func FuzzSubjects(f *testing.F) {
	s, err := NewSubjects(DefaultPrefix)
	check(f, err)
	for _, seed := range []string{
		s.Command(VerbStart, web), s.Command(VerbRelease, files), s.Pause(web), s.Pause(ID{}),
		s.Activity(files), s.Lease("gw", web), s.Event("slept", files),
		"cortex.mcp.command.", "cortex.mcp.lease...", "cortex.mcp.command.start.a.b\xff", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		if verb, id, err := s.ParseCommand(subject); err == nil && s.Command(verb, id) != subject {
			t.Errorf("command %q became %q", subject, s.Command(verb, id))
		}
		if id, err := s.ParseActivity(subject); err == nil && s.Activity(id) != subject {
			t.Errorf("activity %q became %q", subject, s.Activity(id))
		}
		if holder, id, err := s.ParseLease(subject); err == nil && s.Lease(holder, id) != subject {
			t.Errorf("lease %q became %q", subject, s.Lease(holder, id))
		}
		if scope, err := s.ParsePause(subject); err == nil && s.Pause(scope) != subject {
			t.Errorf("pause %q became %q", subject, s.Pause(scope))
		}
		kind, id, err := s.ParseEvent(subject)
		possible := kind != "" && !strings.ContainsAny(kind, "*> \t\r\n")
		if err == nil && possible && s.Event(kind, id) != subject {
			t.Errorf("event %q became %q", subject, s.Event(kind, id))
		}
	})
}
