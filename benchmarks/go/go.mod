module gochan.example/bench

go 1.19
