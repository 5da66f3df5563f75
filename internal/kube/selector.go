package kube

import (
	"fmt"

	"k8s.io/apimachinery/pkg/labels"
)

// ParseSelector reads a label selector as kubectl's -l does ("team=a,tier!=test", "env in (a, b)") and returns whether labels match it.
func ParseSelector(text string) (func(map[string]string) bool, error) {
	selector, err := parseSelector(text)
	if err != nil {
		return nil, err
	}
	return func(set map[string]string) bool { return selector.Matches(labels.Set(set)) }, nil
}

func parseSelector(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf(`label selector %q: %w: write it like "team=a,tier!=test"`, text, err)
	}
	return selector, nil
}
