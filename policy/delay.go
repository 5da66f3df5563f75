package policy

import "time"

// delay says whether a server that would sleep does so now.
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
		told, sleeps, forgotten := f.notice(now)
		switch {
		case !told:
			d.Action = Notify
		case now.Before(sleeps):
			return keep(Noticing, sleeps)
		default:
			d.Next = sooner(d.Next, forgotten)
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

// announce says whether it is time to tell when a server will sleep.
func (f *Facts) announce(d Decision, now time.Time) Decision {
	if f.Settings.SleepNotice == 0 || f.Settings.DryRun || d.Sleeps.IsZero() || len(f.Group.Before) > 0 {
		return d
	}
	told, _, forgotten := f.notice(now)
	switch at := d.Sleeps.Add(-f.Settings.SleepNotice); {
	case now.Before(at):
		d.Next = sooner(d.Next, at)
	case told:
		d.Next = sooner(d.Next, forgotten)
	default:
		d.Action = Notify
	}
	return d
}

// noticeLasts is how long after a server was to sleep it still may without being told again: the write may have failed, and
// the next sweep tries again. After that something else kept it awake, and who heard the notice has seen that it did not sleep.
const noticeLasts = 2 * time.Minute

// notice reports whether it was told that the server will sleep soon, and nothing has happened since; when it may; and when
// that has to be told again.
func (f *Facts) notice(now time.Time) (told bool, sleeps, forgotten time.Time) {
	sleeps = f.Noticed.Add(f.Settings.SleepNotice)
	forgotten = sleeps.Add(noticeLasts)
	return f.Noticed.After(f.IdleSince()) && now.Before(forgotten), sleeps, forgotten
}
