package policy

import "time"

// The tests are outside of the package, because those of the sentences and of the rules share their
// cases. This is what they see of its inside.
const (
	MaxWindow   = maxWindow
	MaxNotice   = maxNotice
	NoticeLasts = noticeLasts
)

var Find = find

func (row *Setting) Read(s *Settings, text string) error { return row.read(s, text) }

func (s Schedule) Zone() *time.Location { return s.zone }

func (w window) Starts() Schedule { return w.starts }

func (w window) Length() time.Duration { return w.length }
