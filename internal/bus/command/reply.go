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

// Result is what the leader says to the replica that took a request: the answer, without what the replica
// waits for, and where the command has left the server.
type Result struct {
	wire.Answer
	UID     string `json:"uid,omitempty"`
	Version string `json:"version,omitempty"`
	Wanted  bool   `json:"wanted,omitempty"` // it has replicas, or will have once those before it are ready
}

// NewResult says what became of the command with a place in the stream.
func NewResult(o scaler.Outcome, sequence uint64, view func(*scaler.Server) scaler.View) Result {
	r := Result{Answer: answer.Outcome(o, sequence, view)}
	if server := o.Server; server != nil {
		r.UID, r.Version, r.Wanted = server.UID, server.Version, server.Wanted()
	}
	return r
}

// Replies hears what the leader says of the commands of this replica. All methods may be called concurrently.
type Replies struct {
	inbox string // what the subjects of the answers begin with
	sub   *nats.Subscription

	mu      sync.Mutex
	waiting map[string]chan<- Result // by the last token of the subject
}

// NewReplies begins to listen.
func NewReplies(nc *nats.Conn) (*Replies, error) {
	r := &Replies{inbox: nc.NewInbox() + ".", waiting: make(map[string]chan<- Result)}
	var err error
	r.sub, err = nc.Subscribe(r.inbox+"*", r.receive)
	return r, err
}

// Expect returns where the leader is to answer a command, and what it then says. Forget ends that.
func (r *Replies) Expect() (inbox string, result <-chan Result, forget func()) {
	token, answer := nuid.Next(), make(chan Result, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[token] = answer
	return r.inbox + token, answer, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiting, token)
	}
}

// receive takes an answer. A later one, of a leader that got the command again, adds nothing. What names no
// command is not from a leader: on any inbox an acknowledgement of JetStream may land.
func (r *Replies) receive(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var result Result
	answer := r.waiting[strings.TrimPrefix(m.Subject, r.inbox)]
	if answer == nil || json.Unmarshal(m.Data, &result) != nil || result.Command == nil {
		return
	}
	select {
	case answer <- result:
	default:
	}
}

// Close ends the listening.
func (r *Replies) Close() { _ = r.sub.Unsubscribe() } // it fails only when the connection is closed
