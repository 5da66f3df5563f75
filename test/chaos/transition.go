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
func transitions(versions []*Version) ([]transition, error) {
	var found []transition
	for i, v := range versions {
		text := v.Marks["last"]
		if text == "" || i > 0 && text == versions[i-1].Marks["last"] {
			continue
		}
		t := transition{version: v}
		if err := json.Unmarshal([]byte(text), &t.last); err != nil {
			return found, fmt.Errorf("annotation last %q: %w", text, err)
		}
		if i > 0 && !v.Gap {
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

// inGap reports whether the version with a number may have been one that the history did not see.
func inGap(versions []*Version, rv uint64) bool {
	for i, v := range versions {
		if i > 0 && v.Gap && versions[i-1].RV <= rv && rv < v.RV {
			return true
		}
	}
	return false
}

// versionOf returns which version of its Deployment an event is the change of: its ID is UID-VERSION.
func versionOf(eventID string) uint64 {
	rv, _ := strconv.ParseUint(eventID[strings.LastIndexByte(eventID, '-')+1:], 10, 64)
	return rv
}
