// Package answer turns what the domain says into what goes over the wire: views of servers,
// outcomes of commands, and errors with their codes. The sessions of commands and the request API
// both answer with it.
package answer
