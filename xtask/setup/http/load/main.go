// A load generator: many keep-alive connections, on each one request after the other, for a while.
//
// Each request has a path of its own, and the answer must be that path. Prints the number of answers and
// the seconds that they took; fails if a single answer is wrong or missing.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var (
	address     = flag.String("address", "", "where the server listens")
	connections = flag.Int("connections", 1000, "how many are open at the same time")
	seconds     = flag.Int("seconds", 5, "for how long")
)

// How long one answer may take.
const patience = 30 * time.Second

func main() {
	flag.Parse()
	// All are open before the first asks.
	clients := make([]*client, *connections)
	for i := range clients {
		conn, err := net.DialTimeout("tcp", *address, patience)
		if err != nil {
			log.Fatalf("connection %d: %v", i, err)
		}
		clients[i] = &client{conn: conn, answers: bufio.NewReaderSize(conn, 512), name: i}
	}
	begin := time.Now()
	end := begin.Add(time.Duration(*seconds) * time.Second)
	var all sync.WaitGroup
	var answers, failures atomic.Int64
	for _, c := range clients {
		all.Go(func() {
			count, err := c.askUntil(end)
			answers.Add(count)
			if err != nil {
				failures.Add(1)
				log.Printf("connection %d, request %d: %v", c.name, count, err)
			}
		})
	}
	all.Wait()
	fmt.Printf("%d %.3f\n", answers.Load(), time.Since(begin).Seconds())
	if failed := failures.Load(); failed > 0 {
		log.Fatalf("%d of %d connections failed", failed, *connections)
	}
}

type client struct {
	conn    net.Conn
	answers *bufio.Reader
	name    int
	path    []byte
	request []byte
}

// askUntil asks at least once, and then until the time has come; it counts the right answers.
func (c *client) askUntil(end time.Time) (count int64, err error) {
	defer c.conn.Close()
	for {
		if err := c.ask(count); err != nil {
			return count, err
		}
		count++
		if !time.Now().Before(end) {
			return count, nil
		}
	}
}

func (c *client) ask(number int64) error {
	c.path = fmt.Appendf(c.path[:0], "/%d/%d", c.name, number)
	c.request = fmt.Appendf(c.request[:0], "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", c.path, *address)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	return c.answer()
}

// answer reads one answer, and expects the path in it.
func (c *client) answer() error {
	status, err := c.line()
	if err != nil {
		return err
	}
	if !bytes.Equal(status, []byte("HTTP/1.1 200 OK")) {
		return fmt.Errorf("status line %q", status)
	}
	length := -1
	for {
		header, err := c.line()
		if err != nil {
			return err
		}
		if len(header) == 0 {
			break
		}
		if value, found := bytes.CutPrefix(header, []byte("Content-Length: ")); found {
			if length, err = strconv.Atoi(string(value)); err != nil {
				return err
			}
		}
	}
	if length != len(c.path) {
		return fmt.Errorf("%d bytes, not %d", length, len(c.path))
	}
	body, err := c.answers.Peek(length)
	if err != nil {
		return err
	}
	if !bytes.Equal(body, c.path) {
		return fmt.Errorf("%q, not %q", body, c.path)
	}
	_, err = c.answers.Discard(length)
	return err
}

// line reads a line and takes its end off.
func (c *client) line() ([]byte, error) {
	line, err := c.answers.ReadSlice('\n')
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	return bytes.TrimRight(line, "\r\n"), err
}
