package main

import (
	"fmt"
	"runtime"
	"sync"
	"time"
)

// withCores does the work with one P and with as many as there are processors.
func withCores(work func(who string)) {
	for _, cores := range []int{1, runtime.NumCPU()} {
		runtime.GOMAXPROCS(cores)
		work(fmt.Sprintf("Go, GOMAXPROCS=%d", cores))
	}
}

func articleCapacity() {
	withCores(func(who string) {
		for _, capacity := range []int{0, 5} {
			name := "unbuffered"
			if capacity > 0 {
				name = fmt.Sprintf("capacity %d", capacity)
			}
			var rates []float64
			const n = 200_000
			for i := 0; i <= rounds(15); i++ {
				start := time.Now()
				flow(n, capacity, 1, 1)
				rates = append(rates, n/(float64(time.Since(start))/1e6))
			}
			report(labels{"who": who, "channel": name}, rates[1:])
		}
	})
}

type message struct {
	author int
	posted time.Time
}

// fanOut is the room of benchmarks/fanout.py: latency in milliseconds, messages a second.
func fanOut(synchronous bool, each int) (float64, float64) {
	const members = 100
	total := members * each
	capacity := total
	if synchronous {
		capacity = 0
	}
	inbox := make(chan message, members)
	var outboxes []chan message
	var echoes []chan bool
	for i := 0; i < members; i++ {
		outboxes = append(outboxes, make(chan message, capacity))
		echoes = append(echoes, make(chan bool, 1))
	}
	own := make([][]float64, members)
	var wg sync.WaitGroup
	wg.Add(2*members + 1)
	start := time.Now()
	for i := 0; i < members; i++ {
		go func(i int) {
			defer wg.Done()
			for j := 0; j < total; j++ {
				if m := <-outboxes[i]; m.author == i {
					own[i] = append(own[i], float64(time.Since(m.posted))/1e6)
					echoes[i] <- true
				}
			}
		}(i)
		go func(i int) {
			defer wg.Done()
			for j := 0; j < each; j++ {
				inbox <- message{i, time.Now()}
				<-echoes[i]
			}
		}(i)
	}
	go func() {
		defer wg.Done()
		for j := 0; j < total; j++ {
			m := <-inbox
			for _, outbox := range outboxes {
				if synchronous {
					outbox <- m
					continue
				}
				select {
				case outbox <- m:
				default:
					panic("a message was dropped")
				}
			}
		}
	}()
	wg.Wait()
	rate := float64(total) / time.Since(start).Seconds()
	sum := 0.0
	for _, one := range own {
		for _, latency := range one {
			sum += latency
		}
	}
	return sum / float64(total), rate
}

func fanOuts(choose func(latency, rate float64) float64) {
	withCores(func(who string) {
		for _, synchronous := range []bool{true, false} {
			name := "non-blocking"
			if synchronous {
				name = "synchronous"
			}
			var values []float64
			for i := 0; i <= rounds(7); i++ {
				values = append(values, choose(fanOut(synchronous, 40)))
			}
			report(labels{"who": who, "fan-out": name}, values[1:])
		}
	})
}

func articleLatency() { fanOuts(func(latency, _ float64) float64 { return latency }) }

func articleRate() { fanOuts(func(_, rate float64) float64 { return rate }) }
