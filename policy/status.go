package policy

// Status is the state of a server in one word.
type Status string

// The statuses.
const (
	StatusRunning Status = "running" // all wanted replicas are ready
	StatusStopped Status = "stopped" // none are wanted
	StatusPending Status = "pending" // none is ready yet
	StatusScaling Status = "scaling" // some are ready, not all
	StatusFailed  Status = "failed"  // none is ready, and waiting does not help
)
