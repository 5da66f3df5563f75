package scaler

import (
	"testing"
	"time"

	"idle-scaler/policy"
)

// While a server, its namespace or everything is paused, nothing is put to sleep; wakes and orders
// go on. A pause of others changes nothing.
func TestPauses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		scope ID
		holds bool
	}{
		{"all", ID{}, true},
		{"its namespace", ID{Namespace: "team-a"}, true},
		{"itself", alpha, true},
		{"another namespace", ID{Namespace: "team-b"}, false},
		{"another server", ID{Namespace: "team-a", Name: "beta"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lead(t, func(w *world) {
				w.pauses.Set(tt.scope, policy.Pause{Scope: tt.name, Actor: "ann"})
				w.sweep()
				if !tt.holds {
					w.expectReplicas(0)
					return
				}
				time.Sleep(3 * time.Hour)
				w.expectReplicas(2)
				w.must(Command{Verb: Stop})
				w.expectReplicas(0)
				w.must(Command{Verb: Start})
				w.expectReplicas(2)
				w.must(holdAsleep)
				w.expectReplicas(0)
				w.ping()
				w.must(Command{Verb: Release})
				w.expectReplicas(2) // on demand
				w.pauses.Set(tt.scope, policy.Pause{})
				time.Sleep(idleAfter)
				w.sweep()
				w.expectReplicas(0)
			}, running(2))
		})
	}
}

// The widest pause counts.
func TestWidestPause(t *testing.T) {
	p := NewPauses()
	for _, scope := range []ID{alpha, {Namespace: "team-a"}, {}} {
		p.Set(scope, policy.Pause{Scope: scope.String()})
		if got := p.Of(alpha).Scope; got != scope.String() {
			t.Errorf("paused %q, want %q", got, scope)
		}
	}
}
