package wire

// WakeAnswer is the answer to a request that wakes all.
type WakeAnswer struct {
	Started int      `json:"started"`           // how many servers an order to start was stored for
	Servers []string `json:"servers,omitempty"` // which, as NS/NAME: the first thousand
	Left    []string `json:"left,omitempty"`    // which sleep by an explicit order, and why: the first thousand
}

// ReadWakeRequest reads the payload of a request that wakes all: that of a command without more
// fields.
func ReadWakeRequest(payload []byte) (Sender, error) {
	c := Command{Verb: "wake"}
	err := c.read(payload, false)
	return c.Sender, err
}
