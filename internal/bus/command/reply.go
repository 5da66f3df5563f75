package command

import (
	"encoding/json"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"idle-scaler/internal/bus/answer"
	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
)

// Result is the leader's answer to the replica that took a request: the outcome of the command, and
// the server after it. The replica itself waits until the server is ready.
type Result struct {
	wire.Answer
	UID     string `json:"uid,omitempty"`
	Version string `json:"version,omitempty"`
	Wanted  bool   `json:"wanted,omitempty"` // it has replicas, or will have once those before it are ready
}

// NewResult returns the Result of the command with a sequence in the stream.
func NewResult(o scaler.Outcome, sequence uint64, view func(*scaler.Server) scaler.View) Result {
	r := Result{Answer: answer.Outcome(o, sequence, view)}
	if server := o.Server; server != nil {
		r.UID, r.Version, r.Wanted = server.UID, server.Version, server.Wanted()
	}
	return r
}

// Replies receives the leader's answers to the commands of this replica, on one subscription. All
// methods may be called concurrently.
type Replies struct {
	inbox   string // the prefix of the subjects of all answers
	sub     *nats.Subscription
	waiting sync.Map // chan Result by the last token of the subject
}

// NewReplies subscribes to the answers. It fails only while the connection is closed.
func NewReplies(nc *nats.Conn) (*Replies, error) {
	r := &Replies{inbox: nc.NewInbox() + "."}
	var err error
	r.sub, err = nc.Subscribe(r.inbox+"*", r.receive)
	return r, err
}

// Expect returns the subject on which the leader is to answer one command, and a channel that gets
// the answer. Call forget when nobody waits for it any more.
func (r *Replies) Expect() (inbox string, result <-chan Result, forget func()) {
	token, waiting := nuid.Next(), make(chan Result, 1)
	r.waiting.Store(token, waiting)
	return r.inbox + token, waiting, func() { r.waiting.Delete(token) }
}

// receive takes an answer. It drops a second one, from a leader to which the command was
// redelivered, and a message that names no command: an acknowledgement of JetStream can go to any
// inbox.
func (r *Replies) receive(m *nats.Msg) {
	waiting, ok := r.waiting.Load(strings.TrimPrefix(m.Subject, r.inbox))
	var result Result
	if !ok || json.Unmarshal(m.Data, &result) != nil || result.Command == nil {
		return
	}
	select {
	case waiting.(chan Result) <- result:
	default:
	}
}

// Close unsubscribes. Channels that still wait get nothing.
func (r *Replies) Close() { _ = r.sub.Unsubscribe() } // it fails only when the connection is closed
