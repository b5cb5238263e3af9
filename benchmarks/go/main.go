// The same work in Go: one table a call, a line of JSON for each measurement.
//
//	gobench [-quick] channels|names|sync-names|growth|memory|article-capacity|article-latency|article-rate
//
// Times are CPU time of the process, in nanoseconds an operation, of several rounds after a warm-up.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

var quick bool

type labels map[string]string

func report(l labels, values []float64) {
	line, err := json.Marshal(map[string]any{"labels": l, "values": values})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func rounds(full int) int {
	if quick {
		return 3
	}
	return full
}

// measure finds how many operations take some 20 ms (a tick of the CPU's account may be 4 ms), and repeats them.
func measure(step int, work func(n int)) []float64 {
	n := step
	for n < 20_000_000 {
		start := time.Now()
		work(n)
		if took := time.Since(start); took > 5*time.Millisecond {
			n = int(float64(n)*float64(20*time.Millisecond)/float64(took))/step*step + step
			break
		}
		n *= 4
	}
	return measureExactly(n, rounds(15), work)
}

func measureExactly(n, rounds int, work func(n int)) []float64 {
	var found []float64
	for i := 0; i < rounds; i++ {
		runtime.GC()
		start := cpu()
		work(n)
		found = append(found, float64(cpu()-start)/float64(n))
	}
	return found
}

func main() {
	tables := map[string]func(){
		"channels": channels, "names": names, "sync-names": syncNames, "growth": growth, "memory": memory,
		"article-capacity": articleCapacity, "article-latency": articleLatency, "article-rate": articleRate,
	}
	for _, word := range os.Args[1:] {
		if word == "-quick" {
			quick = true
		} else if tables[word] == nil {
			fmt.Fprintln(os.Stderr, "no such table:", word)
			os.Exit(2)
		}
	}
	debug.SetGCPercent(400)
	for _, word := range os.Args[1:] {
		if table := tables[word]; table != nil {
			table()
		}
	}
}
