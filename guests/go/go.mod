module example.org/guests

go 1.27
