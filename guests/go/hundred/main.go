// A hundred goroutines on four threads that exchange values over channels and mutexes, and print one number that is the
// same in every run: for tests of whether two runs are the same run.
package main

import (
	"fmt"
	"hash/fnv"
	"runtime"
	"sync"
)

const (
	goroutines = 100
	rounds     = 10
	// So many of them have a thread of their own.
	locked = 3
)

// What all of them add to: any order gives the same sum.
var total struct {
	mutex sync.Mutex
	sum   uint64
}

func main() {
	runtime.GOMAXPROCS(4)
	ring := make([]chan uint64, goroutines)
	for i := range ring {
		ring[i] = make(chan uint64, i%2)
	}
	last := make([]uint64, goroutines)
	var done sync.WaitGroup
	for i := range goroutines {
		done.Go(func() {
			if i%(goroutines/locked) == 1 {
				runtime.LockOSThread()
			}
			last[i] = exchange(i, ring[i], ring[(i+1)%goroutines])
		})
	}
	done.Wait()
	sum := fnv.New64a()
	fmt.Fprintln(sum, last, total.sum)
	fmt.Printf("%016x\n", sum.Sum64())
}

// Mixes what comes from the left into a value of its own, and gives that to the right. In each round the even ones give
// first, and the odd ones take first.
func exchange(number int, left <-chan uint64, right chan<- uint64) uint64 {
	value := uint64(number)
	for range rounds {
		var got uint64
		if number%2 == 0 {
			right <- value
			got = <-left
		} else {
			got = <-left
			right <- value
		}
		value = value*31 + got
		total.mutex.Lock()
		total.sum += value
		total.mutex.Unlock()
	}
	return value
}
