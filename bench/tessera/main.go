// Transparency.dev's Tessera beside Signet's log: appends to a log of its own, to compare what that costs;
// and judges a log that Signet wrote, with Tessera's and Go's own code.
//
//	tessera append FLAGS   appends entries, writes figures as JSON
//	tessera verify         reads a request as JSON from standard input, writes what it verified as JSON
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/klog/v2"
)

func main() {
	klog.LogToStderr(false) // it would tell of each log that it makes
	klog.SetOutput(discard{})
	commands := map[string]func(context.Context, []string) (any, error){
		"append": appendEntries,
		"verify": verifyLog,
	}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fail(fmt.Errorf("usage: tessera append FLAGS | tessera verify"))
	}
	result, err := commands[os.Args[1]](context.Background(), os.Args[2:])
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
