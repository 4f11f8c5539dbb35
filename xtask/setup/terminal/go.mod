module example.org/terminal

go 1.27
