package chaos

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
)

// world is a made-up run of one server, whose idle-after is 5 seconds. Times are seconds since its begin.
type world struct {
	Record
	rv uint64
}

var begin = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }

func newWorld(kind Kind) *world {
	w := &world{rv: 100, Record: Record{
		Seed: 1, Servers: map[string]*Server{"a": {Name: "a", Kind: kind, IdleAfter: 5 * time.Second}},
		Versions: make(map[string][]*Version), Quiet: at(100), Rest: at(102), End: at(110),
	}}
	w.Versions["a"] = []*Version{{Seen: at(0), UID: "u", RV: w.rv, Replicas: 2, Ready: 2, Writer: "kubectl", WriterAt: at(0), Marks: map[string]string{}}}
	return w
}

func (w *world) last() *Version { return w.Versions["a"][len(w.Versions["a"])-1] }

// next appends a version, changed by change, seen at a time.
func (w *world) next(seen float64, change func(v *Version)) *Version {
	v := *w.last()
	v.Marks = make(map[string]string)
	for key, value := range w.last().Marks {
		v.Marks[key] = value
	}
	w.rv++
	v.Seen, v.RV, v.Gap = at(seen), w.rv, false
	change(&v)
	w.Versions["a"] = append(w.Versions["a"], &v)
	return &v
}

// write appends what a right daemon writes for a cause, and its event. Decided is when it was decided.
func (w *world) write(decided, seen float64, replicas int, cause string, o *Order) *Version {
	b := w.last()
	v := w.next(seen, func(v *Version) {
		l := last{ID: fmt.Sprintf("%s-%d", b.UID, b.RV), Type: "unchanged", At: at(decided), From: b.Replicas, To: replicas, Cause: cause}
		switch {
		case b.Replicas > 0 && replicas == 0:
			l.Type = "slept"
		case b.Replicas == 0 && replicas > 0:
			l.Type = "woken"
		case b.Replicas != replicas:
			l.Type = "scaled"
		}
		delete(v.Marks, "asleep-because")
		delete(v.Marks, "asleep-since")
		if replicas == 0 {
			v.Marks["asleep-because"], v.Marks["asleep-since"] = cause, at(decided).Format(time.RFC3339Nano)
			if b.Replicas > 0 {
				v.Marks["replicas"] = strconv.Itoa(b.Replicas)
			}
		} else {
			delete(v.Marks, "replicas")
			v.Marks["awake-since"] = at(decided).Format(time.RFC3339Nano)
		}
		if replicas == 0 {
			delete(v.Marks, "awake-since")
		}
		if o != nil {
			l.Command = o.ID
			v.Marks["command"] = fmt.Sprintf("%d@%s %s", o.Sequence, o.Sent.Format(time.RFC3339Nano), o.ID)
		}
		if v.Replicas != replicas {
			v.Replicas, v.Writer, v.WriterAt = replicas, fieldManager, at(seen).Truncate(time.Second)
		}
		text, _ := json.Marshal(l)
		v.Marks["last"] = string(text)
		w.Told = append(w.Told, &Told{Server: "a", ID: l.ID, Type: l.Type, Cause: cause, Command: l.Command, From: l.From, To: l.To, At: l.At, Stored: v.Seen})
	})
	return v
}

// remake replaces the Deployment by another one.
func (w *world) remake(deleting, made float64) {
	w.next(deleting+.1, func(v *Version) { v.Deleted = true })
	w.next(made, func(v *Version) {
		*v = Version{Seen: at(made), UID: v.UID + "v", RV: v.RV, Made: at(made).Truncate(time.Second), Replicas: 2, Ready: 2, Writer: "kubectl", WriterAt: at(made), Marks: map[string]string{}}
	})
	w.Remakes = append(w.Remakes, &Remake{Server: "a", Deleting: at(deleting), Made: at(made)})
}

// rival gives it replicas, as somebody else does.
func (w *world) rival(seconds float64, replicas int) {
	w.next(seconds, func(v *Version) {
		v.Replicas, v.Writer, v.WriterAt = replicas, somebodyElse, at(seconds).Truncate(time.Second)
	})
}

// noted is what a right daemon writes when it sees that.
func (w *world) noted(seconds float64) {
	b := w.last()
	v := w.write(seconds, seconds, b.Replicas, "external", nil)
	l := last{ID: fmt.Sprintf("%s-%d", b.UID, b.RV), Type: "woken", At: at(seconds), To: b.Replicas, Cause: "external"}
	text, _ := json.Marshal(l)
	v.Marks["last"] = string(text)
	told := w.Told[len(w.Told)-1]
	told.Type, told.From = l.Type, l.From
}

// ping is acknowledged at once.
func (w *world) ping(seconds float64) *Use {
	u := &Use{Server: "a", Sent: at(seconds), Acked: at(seconds + .01), Sequence: 1}
	w.Uses = append(w.Uses, u)
	return u
}

func (w *world) lease(seconds, ttl float64) *Use {
	u := w.ping(seconds)
	u.Holder, u.TTL = "h", time.Duration(ttl*float64(time.Second))
	return u
}

// wakeLate is a sleep, a ping at 20 and a wake at a time, and one more sleep so that all ends well.
func (w *world) wakeLate(seconds float64) {
	w.write(12, 12.1, 0, "idle", nil)
	w.ping(20)
	w.write(seconds, seconds, 2, "activity", nil)
	w.write(seconds+6, seconds+6, 0, "idle", nil)
}

// lead is a leader that says so once a second.
func (w *world) lead(from, to float64) {
	for s := from; s <= to; s++ {
		w.Samples = append(w.Samples, Sample{Daemon: "daemon-0", PID: 7, At: at(s), Leads: true})
	}
}

// order is acknowledged at once.
func (w *world) order(seconds float64, verb string, replicas int) *Order {
	n := len(w.Orders) + 1
	o := &Order{ID: fmt.Sprintf("c%d", n), Server: "a", Verb: verb, Replicas: replicas, Sent: at(seconds), Acked: at(seconds + .01), Sequence: uint64(n)}
	w.Orders = append(w.Orders, o)
	return o
}

// apply is what a right daemon does with an order.
func (w *world) apply(o *Order) *Version {
	s := o.Sent.Sub(begin).Seconds() + .1
	return w.write(s, s, o.effect(w.last()), "command", o)
}

// A good history passes; with any one thing made wrong, that and nothing else is found.
func TestChecker(t *testing.T) {
	tests := []struct {
		name string
		kind Kind
		make func(w *world)
		want []string // the rules that are violated
	}{
		{"silence, sleep", Pinged, func(w *world) {
			w.ping(1)
			w.write(7, 7.1, 0, "idle", nil)
		}, nil},
		{"sleep, ping, wake, sleep", Pinged, func(w *world) {
			w.write(7, 7.1, 0, "idle", nil)
			w.ping(20)
			w.write(20.1, 20.2, 2, "activity", nil)
			w.write(26, 26.1, 0, "idle", nil)
		}, nil},
		{"orders in order", Ordered, func(w *world) {
			w.apply(w.order(1, "stop", 0))
			w.apply(w.order(2, "scale", 4))
			w.apply(w.order(3, "stop", 0))
			w.apply(w.order(4, "start", 0))
			w.apply(w.order(5, "start", 0))
			w.write(12, 12, 0, "idle", nil)
		}, nil},
		{"an order without acknowledgement, not taken", Ordered, func(w *world) {
			o := w.order(1, "stop", 0)
			o.Acked, o.Sequence = time.Time{}, 0
			w.write(12, 12, 0, "idle", nil)
		}, nil},
		{"an order without acknowledgement, taken", Ordered, func(w *world) {
			o := w.order(1, "stop", 0)
			w.apply(o)
			o.Acked, o.Sequence = time.Time{}, 0
		}, nil},
		{"a ping just before a sleep, undone", Pinged, func(w *world) {
			w.ping(11)
			w.write(12, 12.1, 0, "idle", nil)
			w.write(12.2, 12.3, 2, "activity", nil)
			w.write(22, 22.1, 0, "idle", nil)
		}, nil},
		{"what was done while the history was blind is known by its events", Ordered, func(w *world) {
			w.apply(w.order(1, "start", 0))
			w.apply(w.order(2, "stop", 0)).Gap = true
			w.Versions["a"] = slices.Delete(w.Versions["a"], 1, 2)
		}, nil},
		{"somebody else writes replicas while the history is blind, after the daemon did", Rivaled, func(w *world) {
			w.apply(w.order(2, "scale", 3))
			w.rival(3, 1)
			w.last().Gap = true
			w.Versions["a"] = slices.Delete(w.Versions["a"], 1, 2)
			w.write(20, 20.1, 0, "idle", nil)
		}, nil},
		{"a lease that its holder ended", Leased, func(w *world) {
			w.lease(1, 60)
			w.lease(3, 0)
			w.write(9, 9, 0, "idle", nil)
		}, nil},
		{"an order sent again", Ordered, func(w *world) {
			o := w.order(1, "stop", 0)
			o.Again = append(o.Again, at(2))
			w.apply(o)
		}, nil},
		{"an order sent again to a NATS that has forgotten it", Ordered, func(w *world) {
			o := w.order(1, "stop", 0)
			o.Again = append(o.Again, at(4))
			w.Faults = []*Fault{{"SIGKILL", "NATS", at(2), at(3)}}
			w.apply(o)
			again := *o
			again.Sequence = 9
			w.apply(&again)
		}, nil},
		{"a Deployment made again", Remade, func(w *world) {
			w.ping(1)
			w.apply(w.order(2, "stop", 0))
			w.remake(3, 4)
			w.write(12, 12.1, 0, "idle", nil)
		}, nil},
		{"a command that meets both Deployments", Remade, func(w *world) {
			o := w.order(2, "stop", 0)
			w.apply(o)
			w.remake(3, 4)
			w.apply(o)
		}, nil},
		{"a command rejected because there is no Deployment", Remade, func(w *world) {
			w.remake(3, 20)
			o := w.order(4, "stop", 0)
			w.Told = append(w.Told, &Told{Server: "a", ID: "command-1", Type: "rejected", Command: o.ID, At: at(5), Stored: at(5)})
			w.write(30, 30.1, 0, "idle", nil)
		}, nil},
		{"a sleep whose event ended with the Deployment", Remade, func(w *world) {
			w.write(7, 7.1, 0, "idle", nil)
			w.Told = nil
			w.remake(7.2, 8)
			w.write(20, 20.1, 0, "idle", nil)
		}, nil},
		{"somebody wakes it", Rivaled, func(w *world) {
			w.write(7, 7.1, 0, "idle", nil)
			w.rival(20, 3)
			w.noted(20.1)
			w.write(27, 27.1, 0, "idle", nil)
		}, nil},
		{"somebody wakes it again and again", Rivaled, func(w *world) {
			w.write(7, 7.1, 0, "idle", nil)
			w.rival(20, 3)
			w.noted(20.1)
			w.last().Marks["reverts"] = `{"count":2,"writer":"somebody-else"}`
		}, nil},
		{"somebody else's zero, pinged", Foreign, func(w *world) {
			w.next(1, func(v *Version) { v.Replicas, v.Writer, v.WriterAt = 0, somebodyElse, at(1) })
			w.ping(20)
		}, nil},

		{"lost command", Ordered, func(w *world) {
			w.order(1, "start", 0)
			w.write(12, 12, 0, "idle", nil)
		}, []string{"lost command"}},
		{"command rejected for no reason", Ordered, func(w *world) {
			o := w.order(1, "start", 0)
			w.Told = append(w.Told, &Told{Server: "a", ID: "command-1", Type: "rejected", Command: o.ID, At: at(2), Stored: at(2)})
			w.write(12, 12, 0, "idle", nil)
		}, []string{"lost command"}},
		{"command expired too soon", Ordered, func(w *world) {
			o := w.order(1, "start", 0)
			w.Told = append(w.Told, &Told{Server: "a", ID: "command-1", Type: "expired", Command: o.ID, At: at(2), Stored: at(2)})
			w.write(12, 12, 0, "idle", nil)
		}, []string{"lost command"}},
		{"double application", Ordered, func(w *world) {
			o := w.order(1, "start", 0)
			w.apply(o)
			w.apply(o)
			w.write(12, 12, 0, "idle", nil)
		}, []string{"applied twice"}},
		{"double application, with another in between", Ordered, func(w *world) {
			o := w.order(1, "stop", 0)
			w.apply(o)
			w.apply(w.order(2, "start", 0))
			w.apply(o)
		}, []string{"applied twice", "out of order"}},
		{"double application that only the events tell", Ordered, func(w *world) {
			o := w.order(1, "start", 0)
			w.apply(o)
			w.apply(o).Gap = true
			w.Versions["a"] = slices.Delete(w.Versions["a"], 1, 2)
			w.write(12, 12, 0, "idle", nil)
		}, []string{"applied twice"}},
		{"the newer command first", Ordered, func(w *world) {
			older, newer := w.order(1, "start", 0), w.order(2, "stop", 0)
			w.apply(newer)
			w.apply(older)
			w.write(12, 12, 0, "idle", nil)
		}, []string{"out of order"}},
		{"told rejected, was applied", Ordered, func(w *world) {
			o := w.order(1, "stop", 0)
			w.apply(o)
			w.Told = append(w.Told, &Told{Server: "a", ID: "command-1", Type: "rejected", Command: o.ID, At: at(2), Stored: at(2)})
		}, []string{"told rejected, was applied"}},
		{"nonsense applied", Ordered, func(w *world) {
			o := w.order(1, "scale", tooMany)
			o.Invalid = true
			w.apply(o)
			w.write(12, 12, 0, "idle", nil)
		}, []string{"nonsense applied"}},
		{"a command that nobody sent", Ordered, func(w *world) {
			w.apply(&Order{ID: "x", Verb: "stop", Sent: at(1), Sequence: 1})
		}, []string{"unknown command"}},
		{"a stop that starts", Ordered, func(w *world) {
			w.write(1, 1, 3, "command", w.order(1, "stop", 0))
			w.write(12, 12, 0, "idle", nil)
		}, []string{"wrong effect"}},
		{"other replicas than it tells, written while the history was blind", Ordered, func(w *world) {
			w.apply(w.order(1, "scale", 3))
			w.next(1, func(v *Version) { v.Replicas = 1 })
			w.Versions["a"] = slices.Delete(w.Versions["a"], 1, 2)
			w.last().Gap = true
			w.write(12, 12, 0, "idle", nil)
		}, []string{"wrong effect"}},
		{"a stop that a ping undoes", Ordered, func(w *world) {
			w.apply(w.order(1, "stop", 0))
			w.ping(2)
			w.write(2.1, 2.1, 2, "activity", nil)
			w.write(12, 12, 0, "idle", nil)
		}, []string{"wrong effect"}},
		{"early sleep after a ping", Pinged, func(w *world) {
			w.ping(4)
			w.write(7, 7.1, 0, "idle", nil)
		}, []string{"early sleep"}},
		{"sleep in a lease", Leased, func(w *world) {
			w.lease(1, 20)
			w.write(12, 12.1, 0, "idle", nil)
		}, []string{"early sleep"}},
		{"sleep just after a lease", Leased, func(w *world) {
			w.lease(1, 10)
			w.write(13, 13.1, 0, "idle", nil)
		}, []string{"early sleep"}},
		{"sleep just after a start", Ordered, func(w *world) {
			w.apply(w.order(1, "start", 0))
			w.write(5, 5, 0, "idle", nil)
		}, []string{"early sleep"}},
		{"sleep by a clock ahead", Pinged, func(w *world) {
			w.ping(1)
			w.write(312, 12, 0, "idle", nil)
		}, []string{"instant of a wrong clock"}},
		{"sleep by a clock behind", Ordered, func(w *world) {
			w.apply(w.order(1, "start", 0))
			w.write(-288, 12, 0, "idle", nil)
		}, []string{"early sleep"}},
		{"an order that was expired by a clock ahead", Ordered, func(w *world) {
			o := w.order(1, "start", 0)
			w.Told = append(w.Told, &Told{Server: "a", ID: "command-1", Type: "expired", Command: o.ID, At: at(2), Stored: at(2)})
			w.write(12, 12, 0, "idle", nil)
		}, []string{"lost command"}},
		{"an order sent again and applied twice", Ordered, func(w *world) {
			o := w.order(1, "stop", 0)
			o.Again = append(o.Again, at(4))
			w.apply(o)
			again := *o
			again.Sequence = 9
			w.apply(&again)
		}, []string{"applied twice"}},
		{"a command applied twice to the second Deployment", Remade, func(w *world) {
			w.remake(3, 4)
			o := w.order(5, "start", 0)
			w.apply(o)
			w.apply(o)
			w.write(12, 12.1, 0, "idle", nil)
		}, []string{"applied twice"}},
		{"a command lost between two Deployments", Remade, func(w *world) {
			w.order(2, "stop", 0)
			w.remake(3, 4)
			w.write(12, 12.1, 0, "idle", nil)
		}, []string{"lost command"}},
		{"a command rejected though the Deployment is there", Remade, func(w *world) {
			w.remake(3, 4)
			o := w.order(40, "stop", 0)
			w.Told = append(w.Told, &Told{Server: "a", ID: "command-1", Type: "rejected", Command: o.ID, At: at(41), Stored: at(41)})
			w.write(50, 50.1, 0, "idle", nil)
		}, []string{"lost command"}},
		{"early sleep of a Deployment made again", Remade, func(w *world) {
			w.remake(30, 31)
			w.write(33, 33.1, 0, "idle", nil)
		}, []string{"early sleep"}},
		{"a Deployment made again, not woken", Remade, func(w *world) {
			w.remake(3, 4)
			w.write(12, 12.1, 0, "idle", nil)
			w.ping(20)
		}, []string{"wake lost"}},
		{"somebody wakes it, and it is not noted", Rivaled, func(w *world) {
			w.write(7, 7.1, 0, "idle", nil)
			w.rival(20, 3)
			w.noted(40)
			w.write(50, 50.1, 0, "idle", nil)
		}, []string{"rival not noted"}},
		{"somebody wakes it, and it sleeps at once", Rivaled, func(w *world) {
			w.write(7, 7.1, 0, "idle", nil)
			w.rival(20, 3)
			w.write(22, 22.1, 0, "idle", nil)
		}, []string{"early sleep"}},
		{"nobody woke it, and that is noted", Rivaled, func(w *world) {
			w.noted(20)
			w.write(27, 27.1, 0, "idle", nil)
		}, []string{"wrong effect"}},
		{"lost wake", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.ping(20)
		}, []string{"wake lost"}},
		{"slow wake", Pinged, func(w *world) { w.wakeLate(27) }, nil},
		{"late wake", Pinged, func(w *world) { w.wakeLate(29) }, []string{"wake lost"}},
		{"late wake, because of a fault", Pinged, func(w *world) {
			w.wakeLate(38)
			w.Faults = []*Fault{{"SIGKILL", "daemon-0", at(19), at(21)}}
		}, nil},
		{"late wake, because the machine stood still", Pinged, func(w *world) {
			w.wakeLate(38)
			w.Stalls = []Stall{{at(20.5), at(22)}}
		}, nil},
		{"late wake, long after the machine stood still", Pinged, func(w *world) {
			w.wakeLate(40)
			w.Stalls = []Stall{{at(6), at(8)}}
		}, []string{"wake lost"}},
		{"late wake, because the leader lost its lease", Pinged, func(w *world) {
			w.wakeLate(36)
			w.Exits = []Exit{{"daemon-0", at(19), 1, "idle-scaler: the lease of leadership was lost: it ..."}}
		}, nil},
		{"late wake, because the leader was about to lose its lease", Pinged, func(w *world) {
			w.wakeLate(50)
			w.Exits = []Exit{{"daemon-0", at(42), 1, "idle-scaler: the lease of leadership was lost: it ..."}}
		}, nil},
		{"late wake, because nobody led", Pinged, func(w *world) {
			w.lead(0, 18)
			w.lead(32, 110)
			w.wakeLate(42)
		}, nil},
		{"late wake, long after somebody led again", Pinged, func(w *world) {
			w.lead(0, 18)
			w.lead(32, 110)
			w.wakeLate(44)
		}, []string{"wake lost"}},
		{"late wake, though always somebody led, of whom some words were not heard", Pinged, func(w *world) {
			w.lead(0, 19)
			w.lead(21.5, 110)
			w.wakeLate(40)
		}, []string{"wake lost"}},
		{"late wake, and nobody led long before", Pinged, func(w *world) {
			w.lead(0, 5)
			w.lead(15, 110)
			w.wakeLate(40)
		}, []string{"wake lost"}},
		{"late wake, because nobody led for longer than that may be", Pinged, func(w *world) {
			w.lead(0, 18)
			w.lead(90, 110)
			w.wakeLate(93.5)
		}, []string{"wake lost"}},
		{"lost wake, and nobody ever leads again", Pinged, func(w *world) {
			w.lead(0, 18)
			w.write(12, 12.1, 0, "idle", nil)
			w.ping(20)
		}, []string{"wake lost"}},
		{"a ping just before a sleep, never undone", Pinged, func(w *world) {
			w.ping(11)
			w.write(12, 12.1, 0, "idle", nil)
		}, []string{"wake lost"}},
		{"a lease that wakes nobody", Leased, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.lease(20, 60)
		}, []string{"wake lost"}},
		{"woken for nothing", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.write(20, 20, 2, "activity", nil)
			w.write(30, 30, 0, "idle", nil)
		}, []string{"woken for nothing"}},
		{"missing event", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.Told = nil
		}, []string{"event missing"}},
		{"event of nothing", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.Told = append(w.Told, &Told{Server: "a", ID: "u-999", Type: "woken", Stored: at(13)})
		}, []string{"event of nothing"}},
		{"event that is not true", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.Told[0].From = 7
		}, []string{"event is not true"}},
		{"ready, and is not", Pinged, func(w *world) {
			w.Versions["a"][0].Ready = 0
			w.write(12, 12.1, 0, "idle", nil)
			w.Told = append(w.Told, &Told{Server: "a", ID: "u-1-ready-", Type: "ready", Stored: at(13)})
		}, []string{"event of nothing"}},
		{"forgotten replicas", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil).Marks["replicas"] = "1"
		}, []string{"forgot replicas"}},
		{"woken with other replicas", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.ping(20)
			w.write(20.1, 20.1, 1, "activity", nil)
			w.write(26, 26.1, 0, "idle", nil)
		}, []string{"wrong effect"}},
		{"somebody else's zero, woken", Foreign, func(w *world) {
			w.next(1, func(v *Version) { v.Replicas, v.Writer, v.WriterAt = 0, somebodyElse, at(1) })
			w.ping(20)
			w.write(20.1, 20.1, 1, "activity", nil)
			w.write(26, 26.1, 0, "idle", nil)
		}, []string{"foreign zero"}},
		{"replicas without marks", Pinged, func(w *world) {
			w.next(12, func(v *Version) { v.Replicas, v.Writer = 0, fieldManager })
		}, []string{"unmarked write"}},
		{"awake at the end", Pinged, func(*world) {}, []string{"awake at the end"}},
		{"asleep though paused", Paused, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
		}, []string{"wrong effect", "asleep at the end"}},
		{"commands left", Pinged, func(w *world) {
			w.write(12, 12.1, 0, "idle", nil)
			w.Left = 1
		}, []string{"unfinished"}},
		{"a race", Paused, func(w *world) { w.Exits = []Exit{{"daemon-0", at(1), 66, "exit"}} }, []string{"daemon ended"}},
		{"the lease lost", Paused, func(w *world) {
			w.Exits = []Exit{{"daemon-0", at(1), 1, "idle-scaler: the lease of leadership was lost: it ..."}}
		}, nil},
		{"a panic", Paused, func(w *world) { w.Samples = []Sample{{Daemon: "daemon-0", Panics: 1}} }, []string{"panic"}},
		{"connections and a lead taken after its first seconds", Paused, func(w *world) {
			w.Samples = []Sample{
				{PID: 1, At: at(75), Goroutines: 40, Memory: 60 << 20},
				{PID: 1, At: at(101), Goroutines: 92, Memory: 110 << 20},
			}
		}, nil},
		{"more goroutines and memory in the last sweep, and when all is used again", Paused, func(w *world) {
			w.Samples = []Sample{
				{PID: 1, At: at(99.9), Goroutines: 400, Memory: 400 << 20},
				{PID: 1, At: at(100.1), Goroutines: 200, Memory: 300 << 20},
				{PID: 1, At: at(101.1), Goroutines: 92, Memory: 110 << 20},
				{PID: 1, At: at(102.1), Goroutines: 400, Memory: 400 << 20},
			}
		}, nil},
		{"more goroutines than a daemon at rest has", Paused, func(w *world) {
			w.Samples = []Sample{{PID: 1, At: at(101), Goroutines: 220, Memory: 100 << 20}}
		}, []string{"growth"}},
		{"more memory than a daemon at rest has", Paused, func(w *world) {
			w.Samples = []Sample{{PID: 1, At: at(101), Goroutines: 92, Memory: 400 << 20}}
		}, []string{"growth"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(test.kind)
			test.make(w)
			v := Check(&w.Record)
			var got []string
			for _, violation := range v.Violations {
				got = append(got, violation.Rule)
			}
			slices.Sort(got)
			got = slices.Compact(got)
			if want := slices.Sorted(slices.Values(test.want)); !slices.Equal(got, want) {
				t.Errorf("found %q, want %q: %v\n%s", got, test.want, v.Violations, w.Story("a"))
			}
		})
	}
}
