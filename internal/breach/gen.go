//go:build ignore

// Gen packs plain lists of passwords, one a line and the commonest first, into
// the file that package breach keeps:
//
//	go run gen.go -n 100000 -o common.bin list.txt …
//
// Several lists are merged by rank: the first of each, then the second of each,
// until there are n passwords that differ in more than case. The same lists
// make the same file.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"

	"gatehouse/internal/breach"
)

func main() {
	log.SetFlags(0)
	n := flag.Int("n", 0, "how many passwords at most; 0: all")
	out := flag.String("o", "common.bin", "the file to write")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("gen: no list given")
	}
	var lists [][]string
	for _, name := range flag.Args() {
		lines, err := read(name)
		if err != nil {
			log.Fatal(err)
		}
		lists = append(lists, lines)
	}
	passwords := merge(lists, *n)
	packed, err := breach.Pack(passwords)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, packed, 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d passwords, %d bytes\n", len(passwords), len(packed))
}

// read returns the lines of a file that are not empty. Spaces belong to a
// password, an end of line of either kind does not.
func read(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); ; {
		if !s.Scan() {
			return lines, s.Err()
		}
		if line := s.Text(); line != "" {
			lines = append(lines, line)
		}
	}
}

func merge(lists [][]string, n int) []string {
	var all []string
	seen := map[string]bool{}
	for rank, more := 0, true; more; rank++ {
		more = false
		for _, l := range lists {
			if rank >= len(l) {
				continue
			}
			more = true
			p := strings.ToLower(l[rank])
			if seen[p] {
				continue
			}
			if n > 0 && len(all) == n {
				return all
			}
			seen[p] = true
			all = append(all, p)
		}
	}
	return all
}
