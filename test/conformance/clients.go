package main

var clientChecks []*check
