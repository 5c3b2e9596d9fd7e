// Serves gVisor's own injector without a cluster: injector ADDRESS. The injector reads its certificate from the working
// directory.
package main

import (
	"log"
	"net/http"
	"os"

	"gvisor.dev/gvisor/webhook/pkg/injector"
)

func main() {
	server := &http.Server{
		Addr:      os.Args[1],
		TLSConfig: injector.GetTLSConfig(),
		Handler:   http.HandlerFunc(injector.Admit),
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}
