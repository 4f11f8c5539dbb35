// Package gotest is a few lines of ordinary Go whose tests need much of a kernel: goroutines on
// many threads, timers, pipes, child processes and the loopback network.
package gotest

import "sync"

// Squares sends the squares of 0..n through a number of workers and adds them up.
func Squares(n, workers int) int {
	numbers, squares := make(chan int), make(chan int)
	var busy sync.WaitGroup
	for range workers {
		busy.Go(func() {
			for number := range numbers {
				squares <- number * number
			}
		})
	}
	go func() {
		for number := range n {
			numbers <- number
		}
		close(numbers)
		busy.Wait()
		close(squares)
	}()
	sum := 0
	for square := range squares {
		sum += square
	}
	return sum
}
