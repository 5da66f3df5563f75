// Command now shows what a process with a wrong clock sees.
package main

import (
	"fmt"
	"time"
)

func main() {
	now := time.Now()
	time.Sleep(time.Millisecond)
	fmt.Println(now.UnixNano(), time.Since(now).Milliseconds() < 60_000, time.Since(now) > 0)
}
