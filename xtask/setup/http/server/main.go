// An HTTP server that answers each request with its own path.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	answer := func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path)
	}
	log.Fatal(http.Serve(listener, http.HandlerFunc(answer)))
}
