package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

// Check, then act: whether a seat is free is looked up in one critical section, and it is taken in another.
//
// No access to the map is without the mutex, so the race detector is content. But between the two, while the first
// clerk writes to the journal, another sells the same seat. What was looked up holds only as long as the mutex is held.

const (
	clerks     = 3
	rows       = 3
	seatsInRow = 4
)

type theatre struct {
	mutex   sync.Mutex
	taken   map[int]int // who has taken a seat, by its number
	journal *os.File
}

func seats(fixed bool) error {
	runtime.GOMAXPROCS(4)
	journal, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	house := &theatre{taken: make(map[int]int), journal: journal}
	sell := house.sellInTwoSteps
	if fixed {
		sell = house.sellInOneStep
	}
	sold := make([][]int, clerks)
	var done sync.WaitGroup
	for clerk := range clerks {
		done.Go(func() {
			runtime.LockOSThread()
			// Each begins with a row of its own.
			for i := range rows * seatsInRow {
				seat := (clerk*seatsInRow + i) % (rows * seatsInRow)
				if sell(seat, clerk) {
					sold[clerk] = append(sold[clerk], seat)
				}
			}
		})
	}
	done.Wait()
	return check(sold)
}

// The bug.
func (house *theatre) sellInTwoSteps(seat, clerk int) bool {
	house.mutex.Lock()
	_, taken := house.taken[seat]
	house.mutex.Unlock()
	if taken {
		return false
	}
	house.note(seat, clerk)
	house.mutex.Lock()
	house.taken[seat] = clerk
	house.mutex.Unlock()
	return true
}

// The twin.
func (house *theatre) sellInOneStep(seat, clerk int) bool {
	house.mutex.Lock()
	defer house.mutex.Unlock()
	if _, taken := house.taken[seat]; taken {
		return false
	}
	house.note(seat, clerk)
	house.taken[seat] = clerk
	return true
}

// Writes a line to the journal.
func (house *theatre) note(seat, clerk int) {
	fmt.Fprintf(house.journal, "clerk %d sells seat %d\n", clerk, seat)
}

// Says whether each seat was sold once.
func check(sold [][]int) error {
	times := make(map[int]int)
	for _, seats := range sold {
		for _, seat := range seats {
			times[seat]++
		}
	}
	for seat := range rows * seatsInRow {
		if times[seat] != 1 {
			return fmt.Errorf("seat %d was sold %d times", seat, times[seat])
		}
	}
	return nil
}
