package main
var fileChecks []*check
var kernelChecks []*check
var channelChecks []*check
var frameChecks []*check
var terminalChecks []*check
var doorChecks []*check
var clientChecks []*check
