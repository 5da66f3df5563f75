// Command nats is a NATS server with JetStream that writes to the disk what it acknowledges, for tests that kill it.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	port := flag.Int("port", 4222, "`port` on 127.0.0.1")
	dir := flag.String("dir", "", "store `directory`")
	flag.Parse()
	s, err := server.NewServer(&server.Options{
		ServerName: "chaos", Host: "127.0.0.1", Port: *port, JetStream: true, StoreDir: *dir, SyncAlways: true,
	})
	if err == nil {
		s.ConfigureLogger()
		go s.Start()
		if !s.ReadyForConnections(30 * time.Second) {
			err = fmt.Errorf("not ready after 30s")
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nats:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	s.WaitForShutdown()
}
