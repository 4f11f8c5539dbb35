// A pool of workers with a race in its shutdown: the program that docs/hunt.md takes apart. With the argument "fixed" it is
// right.
package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	workers = 1
	clients = 2
	jobs    = 3
)

func main() {
	p := newPool(workers, clients*jobs, os.Stdout)
	submit := p.submit
	if slices.Contains(os.Args[1:], "fixed") {
		submit = p.submitFixed
	}
	var taken, done atomic.Int32
	var all sync.WaitGroup
	for client := range clients {
		all.Go(func() {
			for job := range jobs {
				name := fmt.Sprintf("job %d of client %d", job, client)
				if submit(name, func() { done.Add(1) }) != nil {
					return
				}
				taken.Add(1)
			}
		})
	}
	p.close()
	all.Wait()
	if taken.Load() != done.Load() {
		fmt.Fprintf(os.Stderr, "%d jobs were taken, and %d done\n", taken.Load(), done.Load())
		os.Exit(1)
	}
	fmt.Println("ok")
}
