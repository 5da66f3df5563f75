// Package answer turns views of servers, outcomes of commands and errors of the domain into those
// of the wire. Command sessions and the request API both answer with it.
package answer
