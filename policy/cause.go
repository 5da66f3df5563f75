package policy

// Cause is what made a change happen.
type Cause string

// The causes of a change. External: somebody else made it, the daemon only noticed.
const (
	CauseIdle     Cause = "idle"
	CauseSchedule Cause = "schedule" // sleep-at
	CauseActivity Cause = "activity"
	CauseLease    Cause = "lease"
	CauseKeepWarm Cause = "keep-warm" // a window of it, or of those that it wakes with
	CauseGroup    Cause = "group"
	CauseCommand  Cause = "command"
	CauseHold     Cause = "hold"
	CauseExternal Cause = "external"
)

// WakeCause is what makes a server wake. One that follows others that are only kept warm is kept
// warm too: nobody wants to use it.
func (d Decision) WakeCause(f *Facts) Cause {
	switch d.Reason {
	case Grouped:
		if f.Group.Why == KeepWarm {
			return CauseKeepWarm
		}
		return CauseGroup
	case Activity:
		return CauseActivity
	case Leased:
		return CauseLease
	case KeepWarm:
		return CauseKeepWarm
	case Held:
		return CauseHold
	case Started:
		return CauseCommand
	}
	return ""
}
