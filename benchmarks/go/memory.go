package main

import (
	"runtime"
	"time"
)

func inUse() uint64 {
	var found runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&found)
	return found.HeapInuse + found.StackInuse
}

func weigh(what string, make func(count int) any) {
	count := 100_000
	if quick {
		count = 10_000
	}
	before := inUse()
	kept := make(count)
	time.Sleep(100 * time.Millisecond)
	weight := float64(inUse()-before) / float64(count)
	runtime.KeepAlive(kept)
	report(labels{"what": what, "who": "Go"}, []float64{weight})
}

func memory() {
	weigh("a channel, idle", func(count int) any {
		kept := make([]chan int, count)
		for i := range kept {
			kept[i] = make(chan int)
		}
		return kept
	})
	weigh("a task that waits, on one channel", func(count int) any {
		ch := make(chan int)
		for i := 0; i < count; i++ {
			go func() { <-ch }()
		}
		return ch
	})
	weigh("a task that waits, on a channel of its own", func(count int) any {
		kept := make([]chan int, count)
		for i := range kept {
			ch := make(chan int)
			kept[i] = ch
			go func() { <-ch }()
		}
		return kept
	})
}
