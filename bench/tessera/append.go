package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

// figures is what appending cost.
type figures struct {
	Rate   float64 `json:"rate"`   // entries a second
	Median float64 `json:"median"` // of one append, milliseconds
	P99    float64 `json:"p99"`
	Vkey   string  `json:"vkey"`
}

// appendEntries fills a POSIX log. Each caller waits for its entry before it comes with the next.
//
// Tessera's future resolves when the entry's bundle, the tiles above it and the state of the tree were each
// written with O_SYNC, renamed, and their folders synced: durable, and integrated. The checkpoint that
// commits to it comes later; with -publish callers wait for that too.
func appendEntries(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("append", flag.ExitOnError)
	folder := flags.String("folder", "", "of the log")
	count := flags.Int64("entries", 1000, "to append")
	callers := flags.Int("callers", 64, "at once")
	size := flags.Int("bytes", 200, "of each entry, at least 20")
	batch := flags.Uint("batch", 64, "entries that are sequenced together at most")
	age := flags.Duration("age", 5*time.Millisecond, "after which fewer are")
	interval := flags.Duration("checkpoint", 250*time.Millisecond, "interval of checkpoints, at least 100 ms")
	publish := flags.Bool("publish", false, "wait for the checkpoint")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}

	skey, vkey, err := note.GenerateKey(rand.Reader, "example.com/tessera")
	if err != nil {
		return nil, err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	driver, err := posix.New(ctx, posix.Config{Path: *folder})
	if err != nil {
		return nil, err
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(*batch, *age).
		WithCheckpointInterval(*interval))
	if err != nil {
		return nil, err
	}
	awaiter := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 5*time.Millisecond)

	add := func(n int64) error {
		entry := slices.Repeat([]byte{'.'}, *size)
		copy(entry, fmt.Sprintf("%019d", n))
		future := appender.Add(ctx, tessera.NewEntry(entry))
		if *publish {
			_, _, err := awaiter.Await(ctx, future)
			return err
		}
		_, err := future()
		return err
	}
	var (
		next   atomic.Int64
		group  sync.WaitGroup
		mu     sync.Mutex
		failed error
		took   []float64
	)
	from := time.Now()
	for range *callers {
		group.Add(1)
		go func() {
			defer group.Done()
			var own []float64
			var err error
			for n := next.Add(1); n <= *count && err == nil; n = next.Add(1) {
				at := time.Now()
				err = add(n)
				own = append(own, time.Since(at).Seconds()*1000)
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
			if err != nil {
				failed = err
			}
		}()
	}
	group.Wait()
	seconds := time.Since(from).Seconds()
	if failed != nil {
		return nil, failed
	}
	if err := shutdown(ctx); err != nil {
		return nil, err
	}
	slices.Sort(took)
	return figures{
		Rate:   float64(*count) / seconds,
		Median: took[len(took)/2],
		P99:    took[len(took)*99/100],
		Vkey:   vkey,
	}, nil
}
