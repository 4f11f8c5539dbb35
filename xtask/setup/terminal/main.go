// What the tests in a terminal run: its first argument says what it does.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

func main() {
	if err := perform(os.Args[1]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func perform(task string) error {
	switch task {
	case "wait":
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "repeat":
		fmt.Println("ready")
		return repeat()
	case "deaf":
		signal.Ignore(syscall.SIGTTIN)
		return repeat()
	case "orphan":
		fmt.Println("ready")
		parent, err := strconv.Atoi(os.Args[2])
		if err != nil {
			return err
		}
		for os.Getppid() == parent {
			runtime.Gosched()
		}
		return repeat()
	case "flood":
		for {
			if _, err := os.Stdout.WriteString("line\n"); err != nil {
				return err
			}
		}
	case "pipe":
		return pipe()
	case "full":
		file, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = file.WriteString("x")
		return err
	case "missing":
		_, err := os.Open("/no/such/file")
		return err
	case "files":
		return files()
	}
	return errors.New("no such task")
}

// repeat says each line again.
func repeat() error {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			fmt.Println("the end")
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Print("again: ", line)
	}
}

// pipe writes where nobody reads. A descriptor that is not standard output or error: no signal.
func pipe() error {
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	reader.Close()
	_, err = writer.WriteString("x")
	return err
}

// files opens files until no more can be opened.
func files() error {
	var open []*os.File
	for {
		file, err := os.Open("/dev/null")
		if err != nil {
			return fmt.Errorf("%d are open, then %w", len(open), err)
		}
		open = append(open, file)
	}
}
