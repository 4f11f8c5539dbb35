// Two goroutines, each on an OS thread of its own, that wake each other in turn: a round trip is two
// messages. Prints "cost pair NANOSECONDS".
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

func main() {
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		panic(err)
	}
	there, back := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread()
		for i := range there {
			back <- i
		}
	}()
	runtime.LockOSThread()
	for i := 0; i <= count/10; i++ {
		there <- i
		<-back
	}
	start := time.Now()
	for i := 0; i < count; i++ {
		there <- i
		<-back
	}
	took := time.Since(start)
	fmt.Printf("cost pair %.1f\n", float64(took.Nanoseconds())/float64(count))
}
