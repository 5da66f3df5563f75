package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certFiles are the paths of the cluster's keys and certificates, all PEM.
type certFiles struct {
	ca                   string
	serverCert           string
	serverKey            string
	adminCert, adminKey  string
	serviceAccountSigner string
}

// ensureCerts makes what a cluster needs to be trusted, once per directory: a restarted cluster has to accept the
// credentials and the tokens of its former life.
func ensureCerts(dir string) (certFiles, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	files := certFiles{
		ca:         in("ca.crt"),
		serverCert: in("server.crt"), serverKey: in("server.key"),
		adminCert: in("admin.crt"), adminKey: in("admin.key"),
		serviceAccountSigner: in("service-accounts.key"),
	}
	// The signer is written last: where it is, all others are.
	if _, err := os.Stat(files.serviceAccountSigner); !errors.Is(err, fs.ErrNotExist) {
		return files, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return files, err
	}
	ca, err := newAuthority(files.ca)
	if err != nil {
		return files, fmt.Errorf("make certificate authority: %w", err)
	}
	err = ca.issue(files.serverCert, files.serverKey, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		return files, fmt.Errorf("make server certificate: %w", err)
	}
	err = ca.issue(files.adminCert, files.adminKey, &x509.Certificate{
		// RBAC binds this group to cluster-admin from the start.
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return files, fmt.Errorf("make admin certificate: %w", err)
	}
	_, err = newKey(files.serviceAccountSigner)
	return files, err
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(certPath string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &authority{key: key, cert: &x509.Certificate{
		Subject:               pkix.Name{CommonName: "cluster-ca"},
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}}
	der, err := ca.sign(ca.cert, key)
	if err != nil {
		return nil, err
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return ca, writePEM(certPath, "CERTIFICATE", der)
}

func (ca *authority) issue(certPath, keyPath string, cert *x509.Certificate) error {
	key, err := newKey(keyPath)
	if err != nil {
		return err
	}
	cert.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := ca.sign(cert, key)
	if err != nil {
		return err
	}
	return writePEM(certPath, "CERTIFICATE", der)
}

func (ca *authority) sign(cert *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	cert.SerialNumber = serial
	cert.NotBefore = time.Now().Add(-time.Hour)
	cert.NotAfter = time.Now().AddDate(10, 0, 0)
	return x509.CreateCertificate(rand.Reader, cert, ca.cert, &key.PublicKey, ca.key)
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
