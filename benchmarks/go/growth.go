package main

import (
	"math/rand"
	"reflect"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
)

// Batches are larger than in Python, for the CPU's account is coarse.
const batch = 20_000

func until(got *int64, awaited int64) {
	for atomic.LoadInt64(got) < awaited {
		runtime.Gosched()
	}
}

// takers start goroutines that receive for ever and count; the function ends them.
func takers(receives []chan int, got *int64) func() {
	var wg sync.WaitGroup
	wg.Add(len(receives))
	for _, ch := range receives {
		go func(ch chan int) {
			defer wg.Done()
			for range ch {
				atomic.AddInt64(got, 1)
			}
		}(ch)
	}
	return wg.Wait
}

func waiters(size, rounds int) []float64 {
	ch, got := make(chan int, 1), int64(0)
	receives := make([]chan int, size)
	for i := range receives {
		receives[i] = ch
	}
	wait := takers(receives, &got)
	runtime.Gosched()
	found := measureExactly(batch, rounds+1, func(n int) {
		awaited := atomic.LoadInt64(&got) + int64(n)
		for i := 0; i < n; i++ {
			ch <- i
		}
		until(&got, awaited)
	})
	close(ch)
	wait()
	return found[1:]
}

func manyChannels(size, rounds int) []float64 {
	got, made := int64(0), make([]chan int, size)
	for i := range made {
		made[i] = make(chan int, 1)
	}
	wait := takers(made, &got)
	runtime.Gosched()
	found := measureExactly(batch, rounds+1, func(n int) {
		awaited := atomic.LoadInt64(&got) + int64(n)
		for i := 0; i < n; i++ {
			made[rand.Intn(size)] <- i
		}
		until(&got, awaited)
	})
	for _, ch := range made {
		close(ch)
	}
	wait()
	return found[1:]
}

// leaving: in Go a waiter can only leave by another case of its select.
func leaving(size, rounds int) []float64 {
	ch := make(chan int, 1)
	var left int64
	var leave []chan int
	start := func() {
		mine := make(chan int)
		leave = append(leave, mine)
		go func() {
			select {
			case <-ch:
			case <-mine:
				atomic.AddInt64(&left, 1)
			}
		}()
	}
	for i := 0; i < size; i++ {
		start()
	}
	runtime.Gosched()
	number := size
	if number > 2000 {
		number = 2000
	}
	again := 4000 / number
	var found []float64
	for i := 0; i <= rounds; i++ {
		runtime.GC()
		used := cpu() - cpu()
		for j := 0; j < again; j++ {
			middle := (len(leave) - number) / 2
			leavers := append([]chan int(nil), leave[middle:middle+number]...)
			awaited := atomic.LoadInt64(&left) + int64(number)
			begun := cpu()
			for _, one := range leavers {
				close(one)
			}
			until(&left, awaited)
			used += cpu() - begun
			leave = append(leave[:middle], leave[middle+number:]...)
			for range leavers {
				start()
			}
			runtime.Gosched()
		}
		found = append(found, float64(used)/float64(again*number))
	}
	close(ch)
	return found[1:]
}

func spawning(size, rounds int) []float64 {
	again := 1 + 20_000/size
	return measureExactly(again*size, rounds+1, func(int) {
		for i := 0; i < again; i++ {
			together(size, func() {})
		}
	})[1:]
}

func cases(made []chan int) []reflect.SelectCase {
	var found []reflect.SelectCase
	for _, ch := range made {
		found = append(found, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ch)})
	}
	return found
}

func selectReady(size, rounds int) []float64 {
	made := make([]chan int, size)
	for i := range made {
		made[i] = make(chan int, 4)
		made[i] <- 0
	}
	all := cases(made)
	return measureExactly(2+200_000/size, rounds+1, func(n int) {
		for i := 0; i < n; i++ {
			index, _, _ := reflect.Select(all)
			made[index] <- 0
		}
	})[1:]
}

func selectParked(size, rounds int) []float64 {
	made := make([]chan int, size)
	for i := range made {
		made[i] = make(chan int)
	}
	all, got, done := cases(made), int64(0), make(chan int)
	all = append(all, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(done)})
	go func() {
		for {
			if index, _, _ := reflect.Select(all); index == size {
				return
			}
			atomic.AddInt64(&got, 1)
		}
	}()
	found := measureExactly(2+200_000/size, rounds+1, func(n int) {
		awaited := atomic.LoadInt64(&got) + int64(n)
		for i := 0; i < n; i++ {
			made[rand.Intn(size)] <- i
		}
		until(&got, awaited)
	})[1:]
	close(done)
	return found
}

func growth() {
	sizes := []int{1, 10, 100, 1_000, 10_000, 100_000}
	if quick {
		sizes = []int{1, 100, 1_000}
	}
	for _, one := range []struct {
		what string
		work func(size, rounds int) []float64
		most int
	}{
		{"waiters on a channel", waiters, 100_000}, {"a waiter leaves", leaving, 100_000},
		{"channels with a waiter", manyChannels, 100_000}, {"goroutines made", spawning, 100_000},
		{"cases of a select, ready", selectReady, 65_535}, {"cases of a select, parked", selectParked, 65_535},
	} {
		for _, size := range sizes {
			if size <= one.most {
				report(labels{"what": one.what, "who": "Go", "number": strconv.Itoa(size)}, one.work(size, rounds(7)))
			}
		}
	}
}
