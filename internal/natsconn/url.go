package natsconn

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// ParseURLs reads NATS URLs, separated by commas. One without a scheme is a "nats" URL, as for
// nats.go. An error shows no URL, because there may be a password in it.
func ParseURLs(list string) ([]*url.URL, error) {
	var urls []*url.URL
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return nil, fmt.Errorf("can't read URL number %d (it may hold a password, so it is not shown): "+
				"write it like nats://HOST:4222", len(urls)+1)
		}
		urls = append(urls, u)
	}
	return urls, nil
}
