package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Message is one that a stream holds.
type Message struct {
	Sequence uint64    `json:"seq"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// Last asks for the last message that a stream holds of a subject, which may have wildcards. Its
// sequence is 0 if there is none.
//
// It asks the leader of the stream. nats.go prefers a "direct get" where the stream allows that,
// and then any replica answers, also one that lags. nats.go also fails on headers that it can't
// read, so any publisher could keep the daemon from knowing the last message.
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
		Message *Message            `json:"message"`
		Error   *jetstream.APIError `json:"error"`
	}
	err = json.Unmarshal(m.Data, &answer)
	switch {
	case err != nil:
		return Message{}, fmt.Errorf("read the last message: %w", err)
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return Message{}, nil
	case answer.Error != nil:
		return Message{}, fmt.Errorf("ask for the last message: %w", answer.Error)
	case answer.Message == nil:
		return Message{}, errors.New("ask for the last message: the answer has none")
	}
	return *answer.Message, nil
}
