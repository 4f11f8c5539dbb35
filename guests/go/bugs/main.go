// Concurrency bugs in Go, each with its correct twin, as those of guests/bugs are in Rust: the name of a bug runs it,
// the name and "fixed" its twin, and nothing lists them with the number of racing windows that hold no system call.
// A bug shows as exit status 1, with a line on standard error, or as a hang.
package main

import (
	"fmt"
	"os"
	"slices"
)

type bug struct {
	name  string
	bare  int
	about string
	run   func(fixed bool) error
}

var bugs = []bug{
	{"go-seats", 0, "looks whether a seat is free in one critical section, and takes it in another", seats},
}

func main() {
	if len(os.Args) < 2 {
		list(os.Stdout)
		return
	}
	name := os.Args[1]
	at := slices.IndexFunc(bugs, func(b bug) bool { return b.name == name })
	if at < 0 {
		fmt.Fprintf(os.Stderr, "bugs: %s: there is no such bug, only:\n", name)
		list(os.Stderr)
		os.Exit(2)
	}
	if err := bugs[at].run(slices.Contains(os.Args[2:], "fixed")); err != nil {
		fmt.Fprintf(os.Stderr, "bugs: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}

func list(to *os.File) {
	for _, b := range bugs {
		fmt.Fprintf(to, "%-15s %d %s\n", b.name, b.bare, b.about)
	}
}
