package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// incarnation is a command on one of the Deployments that had the server's name. A command whose acknowledgement got lost comes again, and takes
// effect on the new one as well: nothing there says that it did before.
type incarnation struct{ uid, command string }

// commands: none is lost, none is applied twice, they are applied in the order of the stream, and what is told of them is true.
func (c *checker) commands(p *past) {
	applied := make(map[incarnation]string) // the stamp
	var former done
	for i, v := range p.versions {
		if i > 0 && v.UID != p.versions[i-1].UID {
			former = done{}
		}
		text := v.Marks["command"]
		if text == "" || text == former.stamp+" "+former.id {
			continue
		}
		d, err := parseDone(text)
		o, this := p.orders[d.id], incarnation{v.UID, d.id}
		switch {
		case err != nil || o == nil:
			c.fail("unknown command", p.Name, v.Seen, "the annotation says that %q was applied", text)
		case d.sequence <= former.sequence:
			c.fail("out of order", p.Name, v.Seen, "%q was applied after %q", text, former.stamp)
		case c.forgotten(o) && (applied[this] != "" || o.Sequence != 0 && o.Sequence != d.sequence):
			c.Counts["commands applied again because NATS had forgotten their Nats-Msg-Id"]++
		case applied[this] != "":
			c.fail("applied twice", p.Name, v.Seen, "%q was applied before, as %s", text, applied[this])
		case o.Sequence != 0 && o.Sequence != d.sequence:
			c.fail("applied twice", p.Name, v.Seen, "%q is number %d of the stream", text, o.Sequence)
		}
		applied[this], former = d.stamp, d
	}
	changes := make(map[incarnation]string) // the transition
	took := make(map[string]bool)           // whether a command had an effect, on whatever Deployment
	refused := make(map[string]*Told)
	note := func(uid, command, id string, at time.Time) {
		if command == "" {
			return
		}
		this := incarnation{uid, command}
		if former := changes[this]; former == "" {
			changes[this] = id
		} else if former != id && !c.forgotten(p.orders[command]) {
			c.fail("applied twice", p.Name, at, "command %s made both %s and %s", command, former, id)
		}
	}
	for _, t := range p.transitions {
		if t.Cause == "command" && isChange(t.Type) {
			note(t.version.UID, t.Command, t.ID, t.version.Seen)
		}
	}
	for _, t := range p.told {
		if t.Cause == "command" && isChange(t.Type) {
			uid, _ := versionOf(t.ID)
			note(uid, t.Command, t.ID, t.Stored)
		}
		if t.Type == "rejected" || t.Type == "expired" {
			refused[t.Command] = t
			if p.orders[t.Command] == nil {
				c.fail("event of nothing", p.Name, t.Stored, "%s: no command %q was sent", t.Type, t.Command)
			}
		}
	}
	for _, once := range []map[incarnation]string{applied, changes} {
		for this := range once {
			took[this.command] = true
		}
	}
	for id, o := range p.orders {
		c.outcome(p, o, took[id], refused[id])
	}
}

// forgotten reports whether the stream may have taken a command twice although it had the same Nats-Msg-Id: NATS remembers the ids of what is
// still in a work queue only, once it was started again.
func (c *checker) forgotten(o *Order) bool {
	return o != nil && len(o.Again) > 0 && slices.ContainsFunc(c.Faults, func(f *Fault) bool {
		return f.Target == "NATS" && f.To.After(o.Sent) && f.From.Before(o.Again[len(o.Again)-1].Add(within))
	})
}

// outcome is about one command that was sent.
func (c *checker) outcome(p *past, o *Order, applied bool, refused *Told) {
	taken := !o.Acked.IsZero() && o.Sequence != 0
	switch {
	case o.Invalid && applied:
		c.fail("nonsense applied", p.Name, o.Sent, "%s %d (%s) should have been rejected", o.Verb, o.Replicas, o.ID)
	case applied && refused != nil && (c.forgotten(o) || p.absent(o.Sent, refused.At)):
		c.Counts["commands applied and refused, to two Deployments or sent twice"]++
	case applied && refused != nil:
		c.fail("told "+refused.Type+", was applied", p.Name, refused.Stored, "%s %s: %s", o.Verb, o.ID, refused.Text)
	case applied && len(o.Again) == 0 && (o.Code >= 400 && o.Code <= 404 || o.Code == 410 || o.Code == 422):
		c.fail("answered no, was applied", p.Name, o.Acked, "%s %s was answered with %d", o.Verb, o.ID, o.Code)
	case applied:
		c.Counts["commands applied"]++
	case o.Invalid && taken && refused == nil:
		c.fail("lost command", p.Name, o.Acked, "%s %s was stored as number %d, and its rejection not told", o.Verb, o.ID, o.Sequence)
	case o.Invalid:
	case refused != nil && refused.Type == "expired" && refused.At.Sub(o.Sent) > c.patience(o)-time.Second:
		c.Counts["commands expired in time"]++
	case refused != nil && refused.Type == "rejected" && p.absent(o.Sent, refused.At):
		c.Counts["commands rejected because the Deployment was gone"]++
	case refused != nil:
		c.fail("lost command", p.Name, refused.Stored, "%s %s was %s: %s", o.Verb, o.ID, refused.Type, refused.Text)
	case taken && o.Code == 0 && p.unseen(o.Sent):
		c.Counts["commands to Deployments whose end was not seen"]++
	case taken && o.Code == 0:
		c.fail("lost command", p.Name, o.Acked, "%s %s was acknowledged as number %d, and neither applied nor rejected", o.Verb, o.ID, o.Sequence)
	}
}

// patience is how old a command may get: those by request have a deadline.
func (c *checker) patience(o *Order) time.Duration {
	if o.Request {
		return 30 * time.Second
	}
	return commandMaxAge
}

// effect: a transition does what its cause asks for, on what was there before.
func (c *checker) effect(p *past, t transition) {
	v, b := t.version, t.before
	wrong := func(rule, format string, args ...any) {
		c.fail(rule, p.Name, v.Seen, "%s: %s", t.last, fmt.Sprintf(format, args...))
	}
	if t.Cause == "external" { // it tells what somebody else did
		if b != nil && (b.Replicas == 0 || b.Marks["asleep-since"] == "" || v.Replicas != b.Replicas || v.Marks["asleep-since"] != "") {
			wrong("wrong effect", "it had %d replicas, asleep since %q", b.Replicas, b.Marks["asleep-since"])
		}
		return
	}
	if v.Gap && v.Writer != fieldManager {
		return // somebody else has written replicas since, which the history did not see by itself
	}
	if t.To != v.Replicas {
		wrong("wrong effect", "it has %d replicas", v.Replicas)
	}
	if v.Replicas == 0 && v.Marks["asleep-because"] != map[string]string{"idle": "idle", "command": "command"}[t.Cause] {
		wrong("wrong effect", "the mark says asleep because of %q", v.Marks["asleep-because"])
	}
	if b == nil {
		return // what was before is not known
	}
	if t.From != b.Replicas {
		wrong("wrong effect", "it had %d replicas", b.Replicas)
	}
	if remembered := v.Marks["replicas"]; v.Replicas == 0 && b.Replicas > 0 && remembered != strconv.Itoa(b.Replicas) {
		wrong("forgot replicas", "it had %d and remembers %q", b.Replicas, remembered)
	} else if v.Replicas == 0 && b.Replicas == 0 && remembered != b.Marks["replicas"] {
		wrong("forgot replicas", "it remembered %q and remembers %q", b.Marks["replicas"], remembered)
	}
	want := v.Replicas
	switch t.Cause {
	case "command":
		if o := p.orders[t.Command]; o != nil && isChange(t.Type) {
			want = o.effect(b)
		}
	case "idle":
		want = 0
		if b.Replicas == 0 || p.Kind == Paused {
			wrong("wrong effect", "it had %d replicas and is %s", b.Replicas, p.Kind)
		}
	case "activity", "lease":
		want = b.restored()
		if b.Replicas == 0 && b.Writer != fieldManager {
			wrong("foreign zero", "it was %q who made it zero", b.Writer)
		}
		if b.Marks["asleep-because"] == "command" {
			wrong("wrong effect", "it was stopped by a command")
		}
		if !p.wanted(v.Seen) {
			wrong("woken for nothing", "nobody used it")
		}
	}
	if v.Replicas != want {
		wrong("wrong effect", "it had %d replicas and remembered %q, and should have %d", b.Replicas, b.Marks["replicas"], want)
	}
}

// absent reports whether there may have been no Deployment for a daemon to see at some moment in between.
func (p *past) absent(from, to time.Time) bool {
	return slices.ContainsFunc(p.remakes, func(m *Remake) bool {
		return m.Deleting.Before(to) && (m.Made.IsZero() || m.Made.Add(recoveryAPI).After(from))
	})
}

// unseen reports whether a Deployment was deleted after a time and what happened to it before is not all known.
func (p *past) unseen(since time.Time) bool {
	for i, v := range p.versions {
		if i > 0 && v.Seen.After(since) && (v.Gap || v.UID != p.versions[i-1].UID && !p.versions[i-1].Deleted) {
			return p.absent(since, v.Seen.Add(time.Hour))
		}
	}
	return false
}

// effect is how many replicas a command leaves.
func (o *Order) effect(before *Version) int {
	switch {
	case o.Verb == "stop":
		return 0
	case o.Verb == "scale":
		return o.Replicas
	case before.Replicas > 0:
		return before.Replicas
	}
	return before.restored()
}

// wanted reports whether anything was sent before at which a server could be woken for.
func (p *past) wanted(at time.Time) bool {
	return slices.ContainsFunc(p.uses, func(u *Use) bool { return u.Sent.Before(at) && (u.Holder == "" || u.TTL > 0) })
}

// writers: the daemon writes replicas only with its marks.
func (c *checker) writers(p *past) {
	for i, v := range p.versions {
		if i == 0 || v.Gap || v.UID != p.versions[i-1].UID || v.Replicas == p.versions[i-1].Replicas || v.Marks["last"] != p.versions[i-1].Marks["last"] {
			continue
		}
		if v.Writer == fieldManager {
			c.fail("unmarked write", p.Name, v.Seen, "%d→%d replicas", p.versions[i-1].Replicas, v.Replicas)
		}
		c.Counts["writes by somebody else"]++
	}
}
