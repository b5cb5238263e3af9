package main

import (
	"strconv"
	"sync"
)

var shapes = []struct {
	name                 string
	producers, consumers int
}{{"1 to 1", 1, 1}, {"10 to 1", 10, 1}, {"1 to 10", 1, 10}, {"10 to 10", 10, 10}}

// flow sends n values from producers to consumers over a channel.
func flow(n, capacity, producers, consumers int) {
	ch := make(chan int, capacity)
	var wg sync.WaitGroup
	wg.Add(producers + consumers)
	for p := 0; p < producers; p++ {
		go func() {
			defer wg.Done()
			for i := 0; i < n/producers; i++ {
				ch <- i
			}
		}()
	}
	for c := 0; c < consumers; c++ {
		go func() {
			defer wg.Done()
			for i := 0; i < n/consumers; i++ {
				<-ch
			}
		}()
	}
	wg.Wait()
}

func channels() {
	for _, shape := range shapes {
		for _, capacity := range []int{0, 1, 5, 10, 100, 1000} {
			values := measure(100, func(n int) { flow(n, capacity, shape.producers, shape.consumers) })
			report(labels{"work": shape.name, "who": "Go", "capacity": strconv.Itoa(capacity)}, values)
		}
	}
}
