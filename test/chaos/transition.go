package chaos

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// transition is one write of the daemon, as the Deployment's history has it.
type transition struct {
	version *Version
	before  *Version // the version just before; nil when that is not known
	last
}

// last is the annotation of that name: what the daemon says that it did.
type last struct {
	ID      string    `json:"id"`
	Type    string    `json:"type"`
	At      time.Time `json:"at"` // of the decision
	From    int       `json:"from"`
	To      int       `json:"to"`
	Cause   string    `json:"cause"`
	Command string    `json:"command"`
}

func (l last) String() string {
	return fmt.Sprintf("%s %d→%d cause %s command %q id %s", l.Type, l.From, l.To, l.Cause, l.Command, l.ID)
}

// transitions are the writes that the versions show: those whose annotation last differs from that of the version before.
func (r *Record) transitions(versions []*Version) ([]transition, error) {
	var found []transition
	for i, v := range versions {
		text, same := v.Marks["last"], i > 0 && versions[i-1].UID == v.UID
		if text == "" || same && text == versions[i-1].Marks["last"] {
			continue
		}
		t := transition{version: v}
		if err := json.Unmarshal([]byte(text), &t.last); err != nil {
			return found, fmt.Errorf("annotation last %q: %w", text, err)
		}
		if same && !v.Gap {
			t.before = versions[i-1]
		}
		found = append(found, t)
	}
	return found, nil
}

// isChange reports whether an event of that type tells of a write, and so whether a command with it was applied.
func isChange(kind string) bool {
	return kind == "slept" || kind == "woken" || kind == "scaled" || kind == "unchanged"
}

// done is the annotation command: SEQUENCE@TIME ID.
type done struct {
	sequence uint64
	stamp    string
	id       string
}

func parseDone(text string) (d done, err error) {
	d.stamp, d.id, _ = strings.Cut(text, " ")
	sequence, _, _ := strings.Cut(d.stamp, "@")
	d.sequence, err = strconv.ParseUint(sequence, 10, 64)
	return d, err
}

// restored is how many replicas a server at zero should wake with: the default of wake-replicas is 1.
func (v *Version) restored() int {
	if n, err := strconv.Atoi(v.Marks["replicas"]); err == nil {
		return n
	}
	return 1
}

// fieldManager is the name under which the daemon writes.
const fieldManager = "idle-scaler"

// inGap reports whether the version with a number may have been one that the history did not see: between two that it saw, or the last ones
// of a Deployment whose end it missed.
func inGap(versions []*Version, uid string, rv uint64) bool {
	for i, v := range versions {
		if i == 0 || versions[i-1].UID != uid || versions[i-1].RV > rv {
			continue
		}
		if v.UID == uid && v.Gap && rv < v.RV || v.UID != uid && !versions[i-1].Deleted {
			return true
		}
	}
	return false
}

// versionOf returns which version of its Deployment an event is the change of: its ID is UID-VERSION.
func versionOf(eventID string) (uid string, rv uint64) {
	end := max(0, strings.LastIndexByte(eventID, '-'))
	rv, _ = strconv.ParseUint(strings.TrimPrefix(eventID[end:], "-"), 10, 64)
	return eventID[:end], rv
}

// contended reports whether somebody else has woken it twice in a row without any demand: the daemon leaves it alone then.
func (v *Version) contended() bool {
	var reverts struct{ Count int }
	_ = json.Unmarshal([]byte(v.Marks["reverts"]), &reverts) // most have none
	return v.Replicas > 0 && v.Writer != fieldManager && reverts.Count >= 2
}
