package main

import (
	"context"
	"sync"
	"time"
)

// The work of benchmarks/go_names_sync.py, by the same names; x/sync is not in the standard library and left out.

func cond(waiters int) func(int) {
	return func(n int) {
		var mu sync.Mutex
		changed := sync.NewCond(&mu)
		number := 0
		var wg sync.WaitGroup
		wg.Add(waiters + 1)
		for me := 0; me <= waiters; me++ {
			go func(me int) {
				defer wg.Done()
				for {
					mu.Lock()
					for number >= 0 && number%(waiters+1) != me {
						changed.Wait()
					}
					if number >= 0 {
						if number++; number >= n {
							number = -1
						}
					}
					ended := number < 0
					changed.Broadcast()
					mu.Unlock()
					if ended {
						return
					}
				}
			}(me)
		}
		wg.Wait()
	}
}

func cancelTree(depth int) func(int) {
	return func(n int) {
		for i := 0; i < n/depth; i++ {
			root, cancel := context.WithCancel(context.Background())
			leaf := root
			for j := 0; j < depth; j++ {
				var stop context.CancelFunc // what is measured is that the root's reaches all
				leaf, stop = context.WithCancel(leaf)
				_ = stop
			}
			cancel()
		}
	}
}

func syncNames() {
	for _, one := range []struct {
		name string
		work func(n int)
	}{
		{"MutexUncontended", func(n int) {
			var mu sync.Mutex
			for i := 0; i < n; i++ {
				mu.Lock()
				mu.Unlock()
			}
		}},
		{"Mutex", func(n int) {
			var mu sync.Mutex
			together(10, func() {
				for i := 0; i < n/10; i++ {
					mu.Lock()
					mu.Unlock()
				}
			})
		}},
		{"RWMutexUncontended", func(n int) {
			var mu sync.RWMutex
			for i := 0; i < n; i++ {
				mu.RLock()
				mu.RUnlock()
			}
		}},
		{"WaitGroupUncontended", func(n int) {
			var wg sync.WaitGroup
			for i := 0; i < n; i++ {
				wg.Add(1)
				wg.Done()
				wg.Wait()
			}
		}},
		{"Once", func(n int) {
			var once sync.Once
			for i := 0; i < n; i++ {
				once.Do(func() {})
			}
		}},
		{"Cond1", cond(1)}, {"Cond8", cond(8)}, {"Cond32", cond(32)},
		{"CancelTree1", cancelTree(1)}, {"CancelTree10", cancelTree(10)},
		{"CancelTree100", cancelTree(100)}, {"CancelTree1000", cancelTree(1000)},
		{"CommonParentCancel", func(n int) {
			root, cancel := context.WithCancel(context.Background())
			defer cancel()
			for i := 0; i < n; i++ {
				_, stop := context.WithCancel(root)
				stop()
			}
		}},
		{"WithTimeout", func(n int) {
			for i := 0; i < n; i++ {
				_, stop := context.WithTimeout(context.Background(), time.Hour)
				stop()
			}
		}},
		{"CheckCanceled", func(n int) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			for i := 0; i < n; i++ {
				if ctx.Err() != nil {
					panic("cancelled")
				}
			}
		}},
		{"StartStop", func(n int) {
			for i := 0; i < n; i++ {
				time.NewTimer(time.Hour).Stop()
			}
		}},
	} {
		report(labels{"benchmark": one.name, "on": "Go"}, measure(1000, one.work))
	}
}
