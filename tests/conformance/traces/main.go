// What wrote rate.jsonl and gobreaker.jsonl: random sequences, played to the real packages with a clock of their own.
//
//	./traces rate 30 60 > rate.jsonl
//	./traces breaker 36 60 > gobreaker.jsonl
//
// To build it, with any Go since 1.19, as module "m": put golang.org/x/time/rate/rate.go (commit 2b4e4390) into rate/,
// gobreaker.go, counter.go and twostep_gobreaker.go of github.com/sony/gobreaker/v2 (commit fed8e9eb) into gobreaker/,
// replace time.Now() in those by Now(), and add there `var Now = time.Now`, and to package rate:
//
//	func (lim *Limiter) ReserveMax(t time.Time, n int, max time.Duration) (bool, time.Time, *Reservation) {
//		r := lim.reserveN(t, n, max)
//		return r.ok, r.timeToAct, &r
//	}
//
// A line is a case. A step is an operation, its time in nanoseconds, its arguments, its results, and what can be seen
// afterwards: the tokens, or the counts and the changes of state.
package main

import (
	"encoding/json"
	"errors"
	"math/rand"
	"os"
	"strconv"
	"time"

	"m/gobreaker"
	"m/rate"
)

var base = time.Unix(1700000000, 0)

type A = []interface{}

func lim(l rate.Limit) interface{} {
	if l == rate.Inf {
		return "inf"
	}
	return float64(l)
}

func rateCase(seed int64, steps int) map[string]interface{} {
	r := rand.New(rand.NewSource(seed))
	limits := []float64{10, 5, 1, 0.5, 100, 1000, 3, 7.3, 0.7692307692307693, 1e-10, 1e9, 3e9, 0, 0.1, 33.333333}
	pick := func() rate.Limit {
		if r.Intn(12) == 0 {
			return rate.Inf
		}
		if r.Intn(4) == 0 {
			return rate.Limit(r.Float64() * 50)
		}
		return rate.Limit(limits[r.Intn(len(limits))])
	}
	l0, b0 := pick(), r.Intn(7)
	l := rate.NewLimiter(l0, b0)
	t := int64(0)
	var out []A
	var rs []*rate.Reservation
	done := map[int]bool{}
	for i := 0; i < steps; i++ {
		switch r.Intn(8) {
		case 0, 1:
		case 2:
			t += int64(r.Intn(10)) * 100_000_000
		case 3, 4:
			t += r.Int63n(300_000_000)
		case 5:
			t += r.Int63n(2_000_000_000)
		case 6:
			t += r.Int63n(2_000_000)
		case 7:
			if r.Intn(3) == 0 {
				t -= r.Int63n(500_000_000)
				if t < 0 {
					t = 0
				}
			}
		}
		now := base.Add(time.Duration(t))
		n := r.Intn(4)
		var step A
		switch r.Intn(12) {
		case 0, 1, 2:
			step = A{"allow", t, n, l.AllowN(now, n)}
		case 3, 4, 5, 6:
			v := l.ReserveN(now, n)
			if v.OK() {
				rs = append(rs, v)
			}
			step = A{"reserve", t, n, v.OK(), int64(v.DelayFrom(now))}
		case 7:
			max := time.Duration(r.Int63n(1_000_000_000))
			ok, at, v := l.ReserveMax(now, n, max)
			d := int64(0)
			if ok {
				rs = append(rs, v)
				d = int64(at.Sub(now))
			}
			step = A{"within", t, n, int64(max), ok, d}
		case 8, 9:
			if len(rs) == 0 {
				continue
			}
			k := r.Intn(len(rs))
			if len(rs) > 3 && r.Intn(2) == 0 {
				k = len(rs) - 1 - r.Intn(3)
			}
			if done[k] {
				continue
			}
			done[k] = true
			rs[k].CancelAt(now)
			step = A{"cancel", t, k}
		case 10:
			x := pick()
			l.SetLimitAt(now, x)
			step = A{"rate", t, lim(x)}
		case 11:
			b := r.Intn(7)
			l.SetBurstAt(now, b)
			step = A{"burst", t, b}
		}
		out = append(out, append(step, l.TokensAt(now)))
	}
	return map[string]interface{}{"rate": lim(l0), "burst": b0, "steps": out}
}

var errF, errX = errors.New("f"), errors.New("x")

func breakerCase(seed int64, steps int) map[string]interface{} {
	r := rand.New(rand.NewSource(seed))
	s := int64(time.Second)
	ints := []int64{0, 0, 30 * s, 10 * s, s / 2, 7 * s}
	buckets := []int64{0, 0, 3 * s, s, 4 * s, s / 3, 20 * s}
	touts := []int64{0, 90 * s, s, s / 2}
	max := []uint32{0, 1, 2, 3, 5}[r.Intn(5)]
	interval, bucket, tout := ints[r.Intn(len(ints))], buckets[r.Intn(len(buckets))], touts[r.Intn(len(touts))]
	mode := []string{"default", "ratio", "two"}[r.Intn(3)]
	t := int64(0)
	gobreaker.Now = func() time.Time { return base.Add(time.Duration(t)) }
	var changes []A
	st := gobreaker.Settings{Name: "n" + strconv.Itoa(int(seed)), MaxRequests: max, Interval: time.Duration(interval), BucketPeriod: time.Duration(bucket), Timeout: time.Duration(tout),
		IsExcluded:    func(e error) bool { return errors.Is(e, errX) },
		OnStateChange: func(name string, a, b gobreaker.State) { changes = append(changes, A{a.String(), b.String()}) }}
	switch mode {
	case "ratio":
		st.ReadyToTrip = func(c gobreaker.Counts) bool {
			v := c.Requests - c.TotalExclusions
			return v >= 3 && float64(c.TotalFailures)/float64(v) >= 0.6
		}
	case "two":
		st.ReadyToTrip = func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 2 }
	}
	cb := gobreaker.NewTwoStepCircuitBreaker[bool](st)
	var dones []func(error)
	var open []int
	var out []A
	good := 1 + r.Intn(4)
	for i := 0; i < steps; i++ {
		switch r.Intn(10) {
		case 0, 1, 2:
		case 3, 4, 5:
			t += r.Int63n(s / 2)
		case 6:
			t += s / 3
		case 7:
			t += s
		case 8:
			t += r.Int63n(8 * s)
		case 9:
			switch r.Intn(4) {
			case 0:
				t += 30*s + int64(r.Intn(2))
			case 1:
				x := tout
				if x == 0 {
					x = 60 * s
				}
				t += x + int64(r.Intn(2))
			case 2:
				t += interval + int64(r.Intn(2))
			}
		}
		changes = []A{}
		var step A
		switch k := r.Intn(9); {
		case k < 4:
			d, err := cb.Allow()
			got := "ok"
			if err == gobreaker.ErrOpenState {
				got = "open"
			} else if err == gobreaker.ErrTooManyRequests {
				got = "many"
			} else {
				open = append(open, len(dones))
				dones = append(dones, d)
			}
			step = A{"begin", t, got}
		case k < 8:
			if len(open) == 0 {
				continue
			}
			j := r.Intn(len(open))
			if r.Intn(2) == 0 {
				j = len(open) - 1
			}
			id := open[j]
			open = append(open[:j], open[j+1:]...)
			what, err := "success", error(nil)
			switch x := r.Intn(6); {
			case x < good:
				what, err = "failure", errF
			case x == 5:
				what, err = "excluded", errX
			}
			dones[id](err)
			step = A{"end", t, id, what}
		default:
			step = A{"state", t, cb.State().String()}
		}
		c := cb.Counts()
		out = append(out, append(step, A{c.Requests, c.TotalSuccesses, c.TotalFailures, c.TotalExclusions, c.ConsecutiveSuccesses, c.ConsecutiveFailures}, changes))
	}
	return map[string]interface{}{"max_requests": max, "interval": interval, "bucket_period": bucket, "timeout": tout, "trip": mode, "steps": out}
}

func main() {
	cases, _ := strconv.Atoi(os.Args[2])
	steps, _ := strconv.Atoi(os.Args[3])
	enc := json.NewEncoder(os.Stdout)
	for i := 1; i <= cases; i++ {
		var v interface{}
		if os.Args[1] == "rate" {
			v = rateCase(int64(i), steps)
		} else {
			v = breakerCase(int64(i), steps)
		}
		if err := enc.Encode(v); err != nil {
			panic(err)
		}
	}
}
