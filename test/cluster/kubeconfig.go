package main

import (
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// writeKubeconfig writes the cluster-admin's way in, with everything embedded.
func writeKubeconfig(path, url string, files certFiles) error {
	ca, err := os.ReadFile(files.ca)
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(files.adminCert)
	if err != nil {
		return err
	}
	key, err := os.ReadFile(files.adminKey)
	if err != nil {
		return err
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: ca}
	config.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	config.CurrentContext = "test"
	return clientcmd.WriteToFile(*config, path)
}

// adminConfig reads it again, for this program's own parts, which must never wait for a client-side rate limit.
func adminConfig(path string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return config, nil
}

// as returns the same credential under another name: the API server takes the field manager from the user agent, so
// that tests see the managedFields of a real cluster.
func as(agent string, admin *rest.Config) *rest.Config {
	config := rest.CopyConfig(admin)
	config.UserAgent = agent + "/" + kubernetesVersion
	return config
}
