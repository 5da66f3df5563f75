package wire

import (
	"cmp"
	"math/big"
	"time"
)

// Report is the answer to a report: how long servers slept in a span of time, and how much that
// freed.
type Report struct {
	From    time.Time   `json:"from"`
	To      time.Time   `json:"to"`
	Servers []ReportRow `json:"servers"`
	Total   ReportRow   `json:"total"`          // of all servers, also of those on other pages
	Next    string      `json:"next,omitempty"` // the After of the request for the next page, with the same To
}

// ReportRow is the report of one server, or of all.
type ReportRow struct {
	Namespace       string        `json:"namespace,omitempty"`
	Name            string        `json:"name,omitempty"`
	Gone            bool          `json:"gone,omitempty"`  // it was deleted: what its pods had requested is not known
	Asleep          ReportedSleep `json:"asleep"`          // at zero replicas
	WouldBeAsleep   ReportedSleep `json:"would_be_asleep"` // without dry-run it would have been at zero
	Sleeps          int           `json:"sleeps"`
	WouldSleeps     int           `json:"would_sleeps"`
	Wakes           int           `json:"wakes"`
	WakeP50Seconds  float64       `json:"wake_p50_seconds,omitempty"` // from the write to the first ready replica
	WakeP95Seconds  float64       `json:"wake_p95_seconds,omitempty"`
	AutomaticSleeps int           `json:"automatic_sleeps"` // sleeps and would-be sleeps that nobody ordered
	MisSleeps       int           `json:"mis_sleeps"`       // automatic sleeps that demand followed within 2 minutes
	MisSleepRate    float64       `json:"mis_sleep_rate"`   // mis-sleeps by automatic sleeps, 0 to 1
}

// ReportedSleep is a time at zero replicas, and what the replicas had requested that did not run.
type ReportedSleep struct {
	Seconds             int64    `json:"seconds"`
	CPUCoreHours        float64  `json:"cpu_core_hours"` // for people
	MemoryGiBHours      float64  `json:"memory_gib_hours"`
	CPUMillicoreSeconds *big.Int `json:"cpu_millicore_seconds"` // exactly
	MemoryByteSeconds   *big.Int `json:"memory_byte_seconds"`
}

// ReportRequest is the payload of a report. All fields are optional.
type ReportRequest struct {
	Over  string    `json:"over,omitempty"`  // a duration: how long a time
	To    time.Time `json:"to,omitzero"`     // the end of that time; zero: now
	Limit int       `json:"limit,omitempty"` // at most so many servers; 0: as many as fit
	After string    `json:"after,omitempty"` // the Next of the page before
}

// ReadReportRequest reads the payload of a report, with defaults for its empty fields.
func ReadReportRequest(payload []byte) (over time.Duration, r ReportRequest, after ID, err error) {
	over = 24 * time.Hour
	has, err := decode(payload, fields{"over": &over, "to": &r.To, "limit": &r.Limit, "after": &after})
	return over, r, after, cmp.Or(err, checkSpan("over", over), checkLimit(has["limit"], r.Limit))
}
