package command

// What the tests need to know.
const (
	ReplyHeader = replyHeader
	LeadPause   = leadPause
)
