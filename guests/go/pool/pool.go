package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

var errClosed = errors.New("the pool is closed")

// A pool of workers that do jobs, in the order in which they come.
type pool struct {
	jobs    chan func()
	log     io.Writer
	mutex   sync.RWMutex
	closed  bool
	workers sync.WaitGroup
}

func newPool(workers, room int, log io.Writer) *pool {
	p := &pool{jobs: make(chan func(), room), log: log}
	for range workers {
		p.workers.Go(func() {
			for job := range p.jobs {
				job()
			}
		})
	}
	return p
}

// Has a job done, unless the pool is closed.
func (p *pool) submit(name string, job func()) error {
	p.mutex.RLock()
	closed := p.closed
	p.mutex.RUnlock()
	if closed {
		return errClosed
	}
	fmt.Fprintln(p.log, name)
	p.jobs <- job
	return nil
}

// Takes no more jobs, and waits until those it has are done.
func (p *pool) close() {
	p.mutex.Lock()
	p.closed = true
	p.mutex.Unlock()
	close(p.jobs)
	p.workers.Wait()
}

// submit, as it should be: nobody closes the pool between the look and the act.
func (p *pool) submitFixed(name string, job func()) error {
	p.mutex.RLock()
	defer p.mutex.RUnlock()
	if p.closed {
		return errClosed
	}
	fmt.Fprintln(p.log, name)
	p.jobs <- job
	return nil
}
