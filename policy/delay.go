package policy

import "time"

// delay keeps a server that would sleep awake for its group, a dry run or its sleep notice.
func (f *Facts) delay(d Decision, now time.Time) Decision {
	window := f.Settings.KeepWarm.Next(now)
	keep := func(reason Reason, sleeps time.Time) Decision {
		d.Action, d.Reason, d.Next, d.Sleeps = Keep, reason, sooner(window, sleeps), unless(window, sleeps)
		return d
	}
	switch {
	case f.Group.Wanted != "":
		return f.announce(keep(Grouped, f.Group.free(now)), now)
	case len(f.Group.Before) > 0:
		return keep(Ordered, time.Time{})
	case f.Settings.DryRun:
		d.Action = WouldSleep
	case f.Settings.SleepNotice > 0:
		noticed, sleeps, over := f.notice(now)
		switch {
		case !noticed:
			d.Action = Notify
		case now.Before(sleeps):
			return keep(Noticing, sleeps)
		default:
			d.Next = sooner(d.Next, over)
		}
	}
	return d
}

// foresee says when a server that is in use will sleep: not before the others of its group.
func (f *Facts) foresee(d Decision, now time.Time) Decision {
	if f.Group.Wanted != "" && !d.Sleeps.IsZero() {
		free := f.Group.free(now)
		d.Next = sooner(d.Next, free)
		if d.Sleeps = later(d.Sleeps, free); free.IsZero() {
			d.Sleeps = free
		}
		d.Sleeps = unless(f.Settings.KeepWarm.Next(now), d.Sleeps)
	}
	return f.announce(d, now)
}

// announce asks for the sleep notice when it is time for it.
func (f *Facts) announce(d Decision, now time.Time) Decision {
	if f.Settings.SleepNotice == 0 || f.Settings.DryRun || d.Sleeps.IsZero() || len(f.Group.Before) > 0 {
		return d
	}
	noticed, _, over := f.notice(now)
	switch at := d.Sleeps.Add(-f.Settings.SleepNotice); {
	case now.Before(at):
		d.Next = sooner(d.Next, at)
	case noticed:
		d.Next = sooner(d.Next, over)
	default:
		d.Action = Notify
	}
	return d
}

// noticeLasts is how long after the announced instant a server may still sleep without a new
// notice: the write may have failed, and the next sweep tries again. After that something else kept
// it awake, and whoever read the notice has seen that it did not sleep.
const noticeLasts = 2 * time.Minute

// notice reports whether the server has its notice and was not used since, when it may then sleep,
// and when the notice is over.
func (f *Facts) notice(now time.Time) (noticed bool, sleeps, over time.Time) {
	sleeps = f.Noticed.Add(f.Settings.SleepNotice)
	over = sleeps.Add(noticeLasts)
	return f.Noticed.After(f.IdleSince()) && now.Before(over), sleeps, over
}
