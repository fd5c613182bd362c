// Command lumber is Elastic's own Lumberjack server, for tests: it prints the events that it receives, one JSON
// object a line, and acknowledges a batch when all of it has been printed.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	v2 "github.com/elastic/go-lumber/server/v2"
)

func main() {
	cert := flag.String("cert", "", "certificate of the server, PEM")
	key := flag.String("key", "", "its key, PEM")
	clientCA := flag.String("client-ca", "", "authority of the clients' certificates, PEM")
	listen := flag.String("listen", "127.0.0.1:0", "address to listen at")
	hold := flag.Duration("hold", 0, "time between printing a batch and acknowledging it")
	keepalive := flag.Duration("keepalive", 3*time.Second, "interval of acknowledgements that say: still at work")
	flag.Parse()

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	secured := tls.NewListener(listener, tlsConfig(*cert, *key, *clientCA))
	lumber, err := v2.NewWithListener(secured, v2.Keepalive(*keepalive))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())

	out := bufio.NewWriter(os.Stdout)
	for batch := range lumber.ReceiveChan() {
		for _, event := range batch.Events {
			text, err := json.Marshal(event)
			if err != nil {
				log.Fatal(err)
			}
			out.Write(append(text, '\n'))
		}
		if err := out.Flush(); err != nil {
			log.Fatal(err)
		}
		time.Sleep(*hold)
		batch.ACK()
	}
}

func tlsConfig(cert, key, clientCA string) *tls.Config {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		log.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(pem)
	return &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authorities,
		MinVersion:   tls.VersionTLS12,
	}
}
