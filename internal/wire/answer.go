package wire

// Answer is the answer to a command, and to every request that fails.
type Answer struct {
	Server  *ServerSummary `json:"server,omitempty"` // as it was then
	Event   *Transition    `json:"event,omitempty"`  // what the command did
	Command *CommandRef    `json:"command,omitempty"`
	Error   *Error         `json:"error,omitempty"`
}

// Transition is what a command did.
type Transition struct {
	Type string `json:"type"` // that of an event
	From int    `json:"from"` // replicas wanted before
	To   int    `json:"to"`   // and after
	Text string `json:"text,omitempty"`
}

// CommandRef is the place of a command in the command stream.
type CommandRef struct {
	Sequence uint64 `json:"sequence"`

	// Duplicate says that the stream had it already, by its Nats-Msg-Id; this request did nothing.
	Duplicate bool `json:"duplicate,omitempty"`
}
