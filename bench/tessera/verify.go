package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// request is what to verify. Bytes are base64.
type request struct {
	Folder string `json:"folder"`
	Vkey   string `json:"vkey"`
	// Proofs that the log's own code made, of the checkpoint in the folder.
	Proofs []struct {
		Index  uint64   `json:"index"`
		Entry  []byte   `json:"entry"`
		Hashes [][]byte `json:"hashes"`
	} `json:"proofs"`
	// Earlier checkpoints, and proofs that the log grew out of them.
	Earlier []struct {
		Checkpoint string   `json:"checkpoint"`
		Hashes     [][]byte `json:"hashes"`
	} `json:"earlier"`
}

// verified is what was.
type verified struct {
	Size        uint64 `json:"size"`
	Inclusion   int    `json:"inclusion"`
	Consistency int    `json:"consistency"`
}

// verifyLog reads the folder of a log in the format of C2SP tlog-tiles. Tessera's fsck recomputes the tree
// from all entries. Each proof is checked by transparency.dev's code and by that of Go's checksum database,
// and must be the very one that either of them makes from the tiles.
func verifyLog(ctx context.Context, _ []string) (any, error) {
	var req request
	if err := json.NewDecoder(os.Stdin).Decode(&req); err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(req.Vkey)
	if err != nil {
		return nil, err
	}
	files := client.FileFetcher{Root: req.Folder}
	// Each of its workers ends with the first fault that it meets, and once all have it waits for ever.
	workers := fsck.Opts{N: 64}
	if err := fsck.New(verifier.Name(), verifier, files, leafHashes, workers).Check(ctx); err != nil {
		return nil, fmt.Errorf("fsck: %w", err)
	}
	head, _, _, err := client.FetchCheckpoint(ctx, files.ReadCheckpoint, verifier, verifier.Name())
	if err != nil {
		return nil, err
	}
	size, root := int64(head.Size), tlog.Hash(head.Hash)
	builder, err := client.NewProofBuilder(ctx, head.Size, files.ReadTile)
	if err != nil {
		return nil, err
	}
	tiles := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, folderTiles(req.Folder))

	for _, p := range req.Proofs {
		if err := func() error {
			bundle, err := client.GetEntryBundle(ctx, files.ReadEntryBundle, p.Index/layout.EntryBundleWidth, head.Size)
			if err != nil {
				return err
			}
			if !bytes.Equal(bundle.Entries[p.Index%layout.EntryBundleWidth], p.Entry) {
				return fmt.Errorf("another entry is in the bundle")
			}
			leaf := rfc6962.DefaultHasher.HashLeaf(p.Entry)
			if err := proof.VerifyInclusion(rfc6962.DefaultHasher, p.Index, head.Size, leaf, p.Hashes, head.Hash); err != nil {
				return err
			}
			ours, index := toTlog(p.Hashes), int64(p.Index)
			if err := tlog.CheckRecord(ours, size, root, index, tlog.RecordHash(p.Entry)); err != nil {
				return err
			}
			theirs, err := builder.InclusionProof(ctx, p.Index)
			if err != nil {
				return err
			}
			gos, err := tlog.ProveRecord(size, index, tiles)
			if err != nil {
				return err
			}
			return same(ours, toTlog(theirs), gos)
		}(); err != nil {
			return nil, fmt.Errorf("proof of entry %d: %w", p.Index, err)
		}
	}

	for _, e := range req.Earlier {
		if err := func() error {
			old, _, _, err := log.ParseCheckpoint([]byte(e.Checkpoint), verifier.Name(), verifier)
			if err != nil {
				return err
			}
			if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old.Size, head.Size, e.Hashes, old.Hash, head.Hash); err != nil {
				return err
			}
			ours, from := toTlog(e.Hashes), int64(old.Size)
			if err := tlog.CheckTree(ours, size, root, from, tlog.Hash(old.Hash)); err != nil {
				return err
			}
			theirs, err := builder.ConsistencyProof(ctx, old.Size, head.Size)
			if err != nil {
				return err
			}
			gos, err := tlog.ProveTree(size, from, tiles)
			if err != nil {
				return err
			}
			return same(ours, toTlog(theirs), gos)
		}(); err != nil {
			return nil, fmt.Errorf("consistency: %w", err)
		}
	}
	return verified{head.Size, len(req.Proofs), len(req.Earlier)}, nil
}

// leafHashes are those of the entries in a bundle.
func leafHashes(bundle []byte) ([][]byte, error) {
	var read api.EntryBundle
	if err := read.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	hashes := make([][]byte, 0, len(read.Entries))
	for _, entry := range read.Entries {
		hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return hashes, nil
}

func toTlog(hashes [][]byte) []tlog.Hash {
	list := make([]tlog.Hash, len(hashes))
	for i, hash := range hashes {
		copy(list[i][:], hash)
	}
	return list
}

func same(ours, theirs, gos []tlog.Hash) error {
	if !slices.Equal(ours, theirs) || !slices.Equal(ours, gos) {
		return fmt.Errorf("it holds, but others make another")
	}
	return nil
}

// folderTiles reads tiles for the code of Go's checksum database, whose own paths have the height in them.
type folderTiles string

func (folderTiles) Height() int { return layout.TileHeight }

func (f folderTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	read := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := filepath.Join(string(f), layout.TilePath(uint64(tile.L), uint64(tile.N), uint8(tile.W%layout.TileWidth)))
		var err error
		if read[i], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return read, nil
}

func (folderTiles) SaveTiles([]tlog.Tile, [][]byte) {}
