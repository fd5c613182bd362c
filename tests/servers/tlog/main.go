// Tlogpeer answers questions about signed notes and Merkle proofs with Go's own modules: one JSON object a line in,
// one a line out.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type question struct {
	Ask     string
	Kind    string
	Vkeys   []string
	Note    string
	Name    string
	Text    string
	Leaves  [][]byte
	Leaf    []byte
	Root    []byte
	OldRoot []byte
	Path    [][]byte
	Index   int64
	Old     int64
	Size    int64
}

type answer struct {
	Error string   `json:"error,omitempty"`
	Names []string `json:"names,omitempty"`
	Vkey  string   `json:"vkey,omitempty"`
	Note  string   `json:"note,omitempty"`
	Root  []byte   `json:"root,omitempty"`
	Path  [][]byte `json:"path,omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		answered, err := reply(asked)
		if err != nil {
			answered.Error = err.Error()
		}
		out.Encode(answered)
	}
}

func reply(q question) (answer, error) {
	switch q.Ask {
	case "open":
		return open(q)
	case "sign":
		return sign(q)
	case "tree":
		return tree(q)
	case "inclusion":
		return answer{}, tlog.CheckRecord(hashes(q.Path), q.Size, hash(q.Root), q.Index, hash(q.Leaf))
	case "consistency":
		return answer{}, tlog.CheckTree(hashes(q.Path), q.Size, hash(q.Root), q.Old, hash(q.OldRoot))
	}
	return answer{}, errors.New("unknown question")
}

func open(q question) (answer, error) {
	var known []note.Verifier
	for _, vkey := range q.Vkeys {
		verifier, err := note.NewVerifier(vkey) // Ed25519 only
		if err != nil {
			verifier, err = cosign.NewVerifierForCosignatureV1(vkey)
		}
		if err != nil {
			return answer{}, err
		}
		known = append(known, verifier)
	}
	opened, err := note.Open([]byte(q.Note), note.VerifierList(known...))
	if err != nil {
		return answer{}, err
	}
	var names []string
	for _, signature := range opened.Sigs {
		names = append(names, signature.Name)
	}
	return answer{Names: names}, nil
}

// sign makes a key of the kind that Kind names, and signs Text with it.
func sign(q question) (answer, error) {
	var signer note.Signer
	skey, vkey, err := note.GenerateKey(rand.Reader, q.Name)
	if err != nil {
		return answer{}, err
	}
	switch q.Kind {
	case "ed25519":
		signer, err = note.NewSigner(skey)
	case "cosignature":
		if signer, err = cosign.NewSignerForCosignatureV1(skey); err == nil {
			vkey, err = cosign.VKeyToCosignatureV1(vkey)
		}
	case "ml-dsa-44":
		if skey, vkey, err = cosign.GenerateMLDSAKey(q.Name); err == nil {
			signer, err = cosign.NewMLDSASigner(skey)
		}
	}
	if err != nil {
		return answer{}, err
	}
	signed, err := note.Sign(&note.Note{Text: q.Text}, signer)
	return answer{Vkey: vkey, Note: string(signed)}, err
}

// tree returns the root over the leaves, and the proof of record Index, or from size Old if Index is negative.
func tree(q question) (answer, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for number, leaf := range hashes(q.Leaves) {
		more, err := tlog.StoredHashesForRecordHash(int64(number), leaf, reader)
		if err != nil {
			return answer{}, err
		}
		stored = append(stored, more...)
	}
	size := int64(len(q.Leaves))
	root, err := tlog.TreeHash(size, reader)
	if err != nil {
		return answer{}, err
	}
	var path []tlog.Hash
	if q.Index >= 0 {
		path, err = tlog.ProveRecord(size, q.Index, reader)
	} else {
		path, err = tlog.ProveTree(size, q.Old, reader)
	}
	found := answer{Root: root[:]}
	for _, each := range path {
		found.Path = append(found.Path, append([]byte{}, each[:]...))
	}
	return found, err
}

func hash(raw []byte) (found tlog.Hash) {
	copy(found[:], raw)
	return found
}

func hashes(raw [][]byte) (found []tlog.Hash) {
	for _, each := range raw {
		found = append(found, hash(each))
	}
	return found
}
