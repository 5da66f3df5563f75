package main

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdServer is the one member of an etcd "cluster", inside this process.
type etcdServer struct{ *embed.Etcd }

func startEtcd(dir, logPath string) (*etcdServer, error) {
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	cfg := embed.NewConfig()
	cfg.Name = "etcd"
	cfg.Dir = dir
	cfg.LogLevel = "error"
	cfg.LogOutputs = []string{logPath}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = anyPort, anyPort
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = anyPort, anyPort
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true // Survives a killed process, which is all a test does; not a power cut.
	cfg.TickMs, cfg.ElectionMs = 10, 100
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	server := &etcdServer{etcd}
	select {
	case <-etcd.Server.ReadyNotify():
		return server, nil
	case err := <-etcd.Err():
		return nil, fmt.Errorf("start etcd: %w", err)
	case <-time.After(20 * time.Second):
		server.stop()
		return nil, errors.New("start etcd: not ready in 20s")
	}
}

func (s *etcdServer) endpoint() string { return "http://" + s.Clients[0].Addr().String() }

// stop closes the database. To close the listeners takes seconds, for the API server's last connections; the end of
// the process does it too.
func (s *etcdServer) stop() {
	s.Server.Stop()
	go s.Close()
}
