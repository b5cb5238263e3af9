package main

import "sync"

// The work of benchmarks/go_names.py, by the same names.

func spin(loops int) int {
	foo := 0
	for i := 0; i < loops; i++ {
		foo = (foo*3/2 + 1) & 0xFFFF
	}
	return foo
}

var sink int

func together(count int, work func()) {
	var wg sync.WaitGroup
	wg.Add(count)
	for i := 0; i < count; i++ {
		go func() {
			defer wg.Done()
			work()
		}()
	}
	wg.Wait()
}

func sync2(work int) func(int) {
	return func(n int) {
		ch := make(chan int)
		done := make(chan bool)
		go func() {
			for i := 0; i < n/2; i++ {
				ch <- 0
				sink = spin(work)
				<-ch
			}
			done <- true
		}()
		for i := 0; i < n/2; i++ {
			<-ch
			sink = spin(work)
			ch <- 0
		}
		<-done
	}
}

func prodCons(capacity, work int) func(int) {
	return func(n int) {
		ch := make(chan int, capacity)
		done := make(chan bool)
		go func() {
			for i := 0; i < n; i++ {
				sink = spin(work)
				ch <- i
			}
			done <- true
		}()
		for i := 0; i < n; i++ {
			<-ch
			sink = spin(work)
		}
		<-done
	}
}

func selectProdCons(work int) func(int) {
	return func(n int) {
		ch, timeout, closing := make(chan int, 128), make(chan int), make(chan int)
		done := make(chan bool)
		go func() {
			for i := 0; i < n; i++ {
				sink = spin(work)
				select {
				case ch <- i:
				case <-timeout:
				}
			}
			done <- true
		}()
		for i := 0; i < n; i++ {
			select {
			case <-ch:
			case <-timeout:
			case <-closing:
			}
			sink = spin(work)
		}
		<-done
	}
}

func names() {
	const work = 100
	for _, one := range []struct {
		name string
		work func(n int)
	}{
		{"MakeChan", func(n int) {
			for i := 0; i < n; i++ {
				madeChannel = make(chan int, 8)
			}
		}},
		{"ChanNonblocking", func(n int) {
			ch := make(chan int)
			for i := 0; i < n; i++ {
				select {
				case <-ch:
				default:
				}
			}
		}},
		{"ChanClosed", func(n int) {
			ch := make(chan int)
			close(ch)
			for i := 0; i < n; i++ {
				<-ch
			}
		}},
		{"ChanUncontended", func(n int) {
			ch := make(chan int, 100)
			for i := 0; i < n/100; i++ {
				for j := 0; j < 100; j++ {
					ch <- j
				}
				for j := 0; j < 100; j++ {
					<-ch
				}
			}
		}},
		{"ChanContended", func(n int) {
			ch := make(chan int, 100)
			together(10, func() {
				for i := 0; i < n/100; i++ {
					for j := 0; j < 10; j++ {
						ch <- j
					}
					for j := 0; j < 10; j++ {
						<-ch
					}
				}
			})
		}},
		{"ChanSync", sync2(0)}, {"ChanSyncWork", sync2(work)},
		{"ChanProdCons0", prodCons(0, 0)}, {"ChanProdCons10", prodCons(10, 0)}, {"ChanProdCons100", prodCons(100, 0)},
		{"ChanProdConsWork0", prodCons(0, work)}, {"ChanProdConsWork10", prodCons(10, work)},
		{"ChanProdConsWork100", prodCons(100, work)},
		{"SelectUncontended", func(n int) {
			a, b := make(chan int, 1), make(chan int, 1)
			a <- 0
			for i := 0; i < n; i++ {
				select {
				case <-a:
					b <- 0
				case <-b:
					a <- 0
				}
			}
		}},
		{"SelectSyncContended", selectSyncContended},
		{"SelectAsyncContended", func(n int) {
			a, b := make(chan int, 4), make(chan int, 4)
			together(4, func() {
				a <- 0
				for i := 0; i < n/4; i++ {
					select {
					case <-a:
						b <- 0
					case <-b:
						a <- 0
					}
				}
			})
		}},
		{"SelectNonblock", selectNonblock},
		{"SelectProdCons", selectProdCons(0)}, {"SelectProdConsWork", selectProdCons(work)},
		{"ChanSem", func(n int) {
			done := make(chan struct{}, 4)
			together(4, func() {
				for i := 0; i < n/4; i++ {
					done <- struct{}{}
					<-done
				}
			})
		}},
		{"ChanPopular", chanPopular},
		{"CreateGoroutines", func(n int) {
			done := make(chan bool)
			var link func(left int)
			link = func(left int) {
				if left == 0 {
					done <- true
					return
				}
				go link(left - 1)
			}
			go link(n)
			<-done
		}},
		{"CreateGoroutinesSingle", func(n int) { together(n, func() {}) }},
	} {
		report(labels{"benchmark": one.name, "on": "Go"}, measure(1000, one.work))
	}
}

var madeChannel chan int

func selectSyncContended(n int) {
	a, b, c, done := make(chan int), make(chan int), make(chan int), make(chan int)
	var wg sync.WaitGroup
	wg.Add(4)
	for k := 0; k < 2; k++ {
		go func() {
			defer wg.Done()
			for i := 0; i < n/2; i++ {
				select {
				case a <- i:
				case b <- i:
				case c <- i:
				case <-done:
				}
			}
		}()
		go func() {
			defer wg.Done()
			for i := 0; i < n/2; i++ {
				select {
				case <-a:
				case <-b:
				case <-c:
				case <-done:
				}
			}
		}()
	}
	wg.Wait()
}

func selectNonblock(n int) {
	a, b, c, d := make(chan int), make(chan int), make(chan int, 1), make(chan int, 1)
	for i := 0; i < n/4; i++ {
		select {
		case <-a:
		default:
		}
		select {
		case b <- 0:
		default:
		}
		select {
		case <-c:
		default:
		}
		select {
		case d <- 0:
		default:
		}
	}
}

func chanPopular(n int) {
	const crowd = 1000
	shared := make(chan bool)
	var own []chan bool
	var wg sync.WaitGroup
	for i := 0; i < crowd; i++ {
		mine := make(chan bool)
		own = append(own, mine)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := 0; j < n/crowd; j++ {
				select {
				case <-shared:
				case <-mine:
				}
			}
		}()
	}
	for i := 0; i < n/crowd; i++ {
		for _, mine := range own {
			mine <- true
		}
	}
	wg.Wait()
}
