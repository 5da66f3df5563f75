package command

// Exported for tests.
const (
	ReplyHeader = replyHeader
	LeadPause   = leadPause
)
