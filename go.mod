module cellar

go 1.26
