package share

import "testing"

// A greedy namespace leaves places for others: it has at most half of those that they leave it. All
// together have no more places than there are. A returned place is free again.
func TestPlaces(t *testing.T) {
	p := Places{Most: 64}
	take := func(namespace string) (taken int) {
		for p.Take(namespace) {
			taken++
		}
		return taken
	}
	for _, row := range []struct {
		namespace string
		want      int
	}{{"greedy", 32}, {"other", 16}, {"third", 8}} {
		if n := take(row.namespace); n != row.want {
			t.Errorf("%s has %d places, want %d", row.namespace, n, row.want)
		}
	}
	for i := range 20 {
		take(string(rune('a' + i)))
	}
	if p.Taken() > p.Most {
		t.Errorf("%d are taken, want at most %d", p.Taken(), p.Most)
	}
	for range 32 {
		p.Return("greedy")
	}
	if _, kept := p.inEach["greedy"]; kept {
		t.Error("a namespace without places is kept")
	}
	if !p.Free("late") || !p.Take("late") {
		t.Error("nobody gets a place that was returned")
	}
	if (&Places{}).Take("a") {
		t.Error("there was a place where there is none")
	}
}
