package kube

import (
	"errors"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"idle-scaler/scaler"
)

// put takes in what the API server said of a Deployment, by a watch or in an answer, unless something newer is known. It returns
// the server as it was said.
func (c *Cache) put(d *appsv1.Deployment) *scaler.Server {
	former, same := c.former(d)
	if same {
		return former.server
	}
	seen := decode(d, former)
	c.mu.Lock()
	changed := c.keep(seen)
	c.mu.Unlock()
	if changed {
		c.OnChange(seen.server.ID)
	}
	return seen.server
}

// former returns what is known of the Deployment, nil when nothing is, and whether that is this version of it: nothing is decoded twice.
func (c *Cache) former(d *appsv1.Deployment) (known *deployment, same bool) {
	known, ok := c.deployment(scaler.ID{Namespace: d.Namespace, Name: d.Name})
	return known, ok && known.server.Version == d.ResourceVersion
}

// keep completes what was decoded, and keeps the newer of that and what is known; it reports whether that is what was decoded.
func (c *Cache) keep(seen *deployment) bool {
	id := seen.server.ID
	former, known := c.servers[id]
	c.complete(seen, former)
	if known && !newer(seen.server.Version, former.server.Version) {
		return false
	}
	if !known && !newer(seen.server.Version, c.region(id.Namespace).seen) {
		return false // it was deleted since: the watch has told of everything up to that version
	}
	seen.remember(former, c.now())
	c.set(id, seen)
	return true
}

// complete adds what does not stand on the Deployment. Settings are read anew only when something else is written somewhere: most changes
// are of the status.
func (c *Cache) complete(d, former *deployment) {
	s := d.server
	d.in = c.namespaceOf(s.ID)
	if former != nil && former.in == d.in && maps.Equal(former.written, d.written) {
		d.settings = former.settings
	} else {
		d.settings = d.in.settings(c.config, d.written)
	}
	s.Settings, s.Sources = d.settings.Settings, d.settings.sources
	s.Bad = errors.Join(d.settings.bad, d.badMark)
	s.Rival = c.rivalOf(s.ID)
}

// renew gives a new state, of the same version, to every server of which something else is said elsewhere by now. It returns which.
func (c *Cache) renew() []scaler.ID {
	var renewed []scaler.ID
	for id, former := range c.servers {
		if former.in == c.namespaceOf(id) && former.server.Rival == c.rivalOf(id) {
			continue
		}
		server, d := *former.server, *former
		d.server = &server
		c.complete(&d, former)
		c.set(id, &d)
		renewed = append(renewed, id)
	}
	return renewed
}

// set makes the deployment what is known of a server, nil: nothing.
func (c *Cache) set(id scaler.ID, present *deployment) {
	c.regroup(c.servers[id], present)
	if present == nil {
		delete(c.servers, id)
	} else {
		c.servers[id] = present
	}
	c.touch(id)
}

// drop forgets a server that is gone as of a version, unless it was seen in a newer one.
func (c *Cache) drop(id scaler.ID, version string) bool {
	former, known := c.servers[id]
	if !known || newer(former.server.Version, version) {
		return false
	}
	c.set(id, nil)
	return true
}

// touch makes a change known to those who watch.
func (c *Cache) touch(id scaler.ID) {
	c.all = nil
	for _, watcher := range c.watchers[id] {
		select {
		case watcher <- struct{}{}:
		default: // it has not looked since the last change
		}
	}
}

// newer reports whether version a comes after b. Versions of one resource are ordered, also between objects. What can't be
// compared counts as newer: the API server gave it later.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order > 0
}

// older reports whether version a comes before b, as far as they can be compared.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
