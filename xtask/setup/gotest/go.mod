module example.org/gotest

go 1.27
