package gotest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestWorkersShareChannels(t *testing.T) {
	for _, workers := range []int{1, 8, 200} {
		if got, want := Squares(1000, workers), 332833500; got != want {
			t.Errorf("%d workers: got %d, want %d", workers, got, want)
		}
	}
}

func TestLockedThreadsTakeTurns(t *testing.T) {
	const threads, rounds = 4, 500
	turns := make([]chan int, threads)
	for i := range turns {
		turns[i] = make(chan int)
	}
	var all sync.WaitGroup
	for i := range threads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for turn := range turns[i] {
				if turn == threads*rounds {
					for _, other := range turns {
						close(other)
					}
					return
				}
				// The last one closes the channels of all: nobody sends after that.
				turns[(i+1)%threads] <- turn + 1
			}
		})
	}
	turns[0] <- 0
	all.Wait()
}

func TestSpinningGoroutineIsPreempted(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var stop atomic.Bool
	spun := make(chan uint64)
	go func() {
		turns := uint64(0)
		for !stop.Load() {
			turns++
		}
		spun <- turns
	}()
	runtime.Gosched()
	stop.Store(true)
	if <-spun == 0 {
		t.Log("stopped before its first turn")
	}
}

func TestCollectorRunsBesideAllocation(t *testing.T) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var kept [][]byte
			for i := range 2000 {
				kept = append(kept, make([]byte, 4096))
				if i%500 == 0 {
					runtime.GC()
					kept = nil
				}
			}
		})
	}
	all.Wait()
}

func TestTimersAreNeverEarly(t *testing.T) {
	for _, wait := range []time.Duration{time.Microsecond, time.Millisecond, 30 * time.Millisecond} {
		start := time.Now()
		<-time.After(wait)
		if took := time.Since(start); took < wait {
			t.Errorf("waited %v instead of %v", took, wait)
		}
	}
}

func TestTickerTicksInOrder(t *testing.T) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	last := time.Time{}
	for range 10 {
		if now := <-ticker.C; now.After(last) {
			last = now
		} else {
			t.Fatalf("%v came after %v", now, last)
		}
	}
}

func TestDeadlineEndsWaiting(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Error(ctx.Err())
	}
}

func TestNilDereferenceIsAPanic(t *testing.T) {
	defer func() {
		if _, ok := recover().(runtime.Error); !ok {
			t.Error("no runtime error came from a nil pointer")
		}
	}()
	var nowhere *int
	*nowhere = 1
}
