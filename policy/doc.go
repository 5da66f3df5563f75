// Package policy decides which server may sleep, which must wake, and says why.
//
// [Rules.Decide] is a pure function of [Facts] and an instant. [Parse] reads the settings people write on a server.
// [Schedule] says when all servers are looked at. Nothing here does IO, starts a goroutine or reads a clock.
package policy
