package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Message is one that a stream holds.
type Message struct {
	Sequence uint64    `json:"seq"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// messageNotFound is the code of NATS for a message that is not there.
const messageNotFound = 10037

// Last asks for the last message that a stream holds of a subject, which may have wildcards. Its
// sequence is 0 if there is none. The leader of the stream answers, as it does about the state of
// the stream. A "direct get", which nats.go prefers where the stream allows it, is answered by any
// replica, also by one that is behind.
func Last(ctx context.Context, nc *nats.Conn, stream, subject string) (Message, error) {
	request, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return Message{}, fmt.Errorf("encode a request for the last message: %w", err)
	}
	m, err := nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, request)
	if err != nil {
		return Message{}, fmt.Errorf("ask for the last message: %w", err)
	}
	var answer struct {
		Message *Message `json:"message"`
		Error   *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	err = json.Unmarshal(m.Data, &answer)
	switch {
	case err != nil:
		return Message{}, fmt.Errorf("read the last message: %w", err)
	case answer.Error != nil && answer.Error.Code == messageNotFound:
		return Message{}, nil
	case answer.Error != nil:
		return Message{}, fmt.Errorf("ask for the last message: %s", answer.Error.Description)
	case answer.Message == nil:
		return Message{}, errors.New("ask for the last message: there is none in the answer")
	}
	return *answer.Message, nil
}
