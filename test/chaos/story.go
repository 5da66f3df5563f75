package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// clock is how times are shown: they are all of one run.
const clock = "15:04:05.000"

// Story tells in order of time all that is known of a server, and of the faults.
func (r *Record) Story(server string) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	add := func(at time.Time, format string, args ...any) {
		lines = append(lines, line{at, fmt.Sprintf(format, args...)})
	}
	acked := func(sent, acked time.Time) string {
		if acked.IsZero() {
			return "no acknowledgement"
		}
		return "acknowledged after " + acked.Sub(sent).Round(time.Millisecond).String()
	}
	for _, f := range r.Faults {
		add(f.From, "      FAULT  %s %s", f.Kind, f.Target)
		add(f.To, "      mended %s %s", f.Kind, f.Target)
	}
	for _, s := range r.Stalls {
		add(s.From, "      STALL  the machine stands still")
		add(s.To, "      moved again")
	}
	for _, l := range r.Lives {
		add(l.From, "      START  %s, clock ahead by %s", l.Daemon, l.Ahead)
	}
	for _, m := range r.Remakes {
		if m.Server == server {
			add(m.Deleting, "      REMAKE deleted")
			add(m.Made, "      REMAKE made again")
		}
	}
	for _, e := range r.Exits {
		add(e.At, "      EXIT   %s code %d: %s", e.Daemon, e.Code, e.Said)
	}
	for _, u := range r.Uses {
		if u.Server != server {
			continue
		}
		what := "ping"
		if u.Holder != "" {
			what = fmt.Sprintf("lease of %s for %s", u.Holder, u.TTL)
		}
		add(u.Sent, "▶ use    %s, number %d, %s", what, u.Sequence, acked(u.Sent, u.Acked))
	}
	for _, o := range r.Orders {
		if o.Server != server {
			continue
		}
		how := "published"
		if o.Request {
			how = fmt.Sprintf("request, code %d,", o.Code)
		}
		add(o.Sent, "▶ order  %s %d (%s), %s number %d, %s", o.Verb, o.Replicas, o.ID, how, o.Sequence, acked(o.Sent, o.Acked))
		for _, again := range o.Again {
			add(again, "▶ again  %s", o.ID)
		}
	}
	var before *Version
	for _, v := range r.Versions[server] {
		lines = append(lines, line{v.Seen, "● " + v.since(before)})
		before = v
	}
	for _, e := range r.Told {
		if e.Server == server {
			add(e.Stored, "◀ event  %s %d→%d cause %s command %q id %s at %s %s", e.Type, e.From, e.To, e.Cause, e.Command, e.ID, e.At.Format(clock), e.Text)
		}
	}
	add(r.Quiet, "      QUIET  faults and workload are over, and what they left is done or was not waited for any longer")
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, server %+v\n", r.Seed, *r.Servers[server])
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s\n", l.at.Format(clock), l.text)
	}
	return b.String()
}

// since tells a version, and what differs from the one before.
func (v *Version) since(before *Version) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d: %d replicas, %d ready", v.RV, v.Replicas, v.Ready)
	if v.Deleted {
		b.WriteString(", DELETED")
	}
	if v.Gap {
		b.WriteString(" (there may have been others before)")
	}
	marks := make(map[string]string)
	if before == nil || v.Writer != before.Writer || !v.WriterAt.Equal(before.WriterAt) {
		fmt.Fprintf(&b, "; replicas by %s at %s", v.Writer, v.WriterAt.Format(time.TimeOnly))
	}
	if before != nil {
		marks = before.Marks
	}
	for _, key := range sorted(v.Marks) {
		if marks[key] != v.Marks[key] {
			fmt.Fprintf(&b, "\n               %s: %s", key, v.Marks[key])
		}
	}
	for _, key := range sorted(marks) {
		if _, still := v.Marks[key]; !still {
			fmt.Fprintf(&b, "\n               %s: removed", key)
		}
	}
	return b.String()
}
