package captcha_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/internal/captcha"
)

// node runs a script beside pow.js and returns its lines.
func node(t *testing.T, source string, args ...string) []string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("the script is tried with node, which make test needs anyway")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"pow.mjs": captcha.Script(), "main.mjs": source} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), path, append([]string{filepath.Join(dir, "main.mjs")}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// workers gives Node the Worker of browsers, made of its own, and says whether
// one was used and left running.
const workers = `
import { Worker as Thread } from "node:worker_threads"
import { resolveObjectURL } from "node:buffer"
let made = 0, ended = 0
globalThis.Worker = class {
  constructor(url) {
    made++
    const blob = resolveObjectURL(url)
    this.thread = blob.text().then(text => {
      const thread = new Thread("const { parentPort } = require('worker_threads'); const postMessage = m => parentPort.postMessage(m);" + text, { eval: true })
      thread.on("message", data => this.onmessage({ data }))
      thread.on("error", e => this.onerror(e))
      return thread
    })
  }
  terminate() { ended++; this.thread.then(t => t.terminate()) }
}
process.on("exit", () => { if (made !== ended || !made) { console.log("workers made and ended:", made, ended); process.exitCode = 1 } })
`

// refusedWorkers are those of a page whose policy allows none: some browsers
// throw, some tell later.
const (
	throwingWorkers = `globalThis.Worker = class { constructor() { throw new Error("policy") } }` + "\n"
	failingWorkers  = `globalThis.Worker = class { constructor() { setTimeout(() => this.onerror(new Error("policy"))) } terminate() {} }` + "\n"
)

const solveAll = `
import { solve } from "./pow.mjs"
for (const base of process.argv.slice(2)) console.log(await solve(base))
`

func TestScript_solvesWhatTheServerTakes(t *testing.T) {
	t.Parallel()
	for name, browser := range map[string]string{
		"worker": workers, "no workers": "", "workers that throw": throwingWorkers, "workers that fail": failingWorkers,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			works := map[string]*captcha.Work{}
			mux := http.NewServeMux()
			for _, n := range []int{8, 11, 15} {
				base := fmt.Sprintf("/%d/auth/v1", n)
				works[base] = newWork(t, captcha.WorkOptions{Bits: n})
				mux.HandleFunc("GET "+base+"/captcha", func(w http.ResponseWriter, _ *http.Request) {
					json.NewEncoder(w).Encode(works[base].Challenge(begin))
				})
			}
			s := httptest.NewServer(mux)
			defer s.Close()
			bases := []string{"/8/auth/v1", "/11/auth/v1", "/15/auth/v1", "/8/auth/v1//", "/8/auth/v1/"}
			var urls []string
			for _, base := range bases {
				urls = append(urls, s.URL+base)
			}
			tokens := node(t, browser+solveAll, urls...)
			if len(tokens) != len(bases) {
				t.Fatalf("got %q, want %d tokens", tokens, len(bases))
			}
			for i, token := range tokens {
				if _, _, err := works[strings.TrimRight(bases[i], "/")].Check(token, begin); err != nil {
					t.Errorf("%s: %q: %v", bases[i], token, err)
				}
			}
		})
	}
}

// The script hashes texts of other lengths, too, should the challenge change.
func TestScript_hashesEveryLength(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{text}/captcha", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(captcha.Challenge{Text: r.PathValue("text"), Bits: 10})
	})
	s := httptest.NewServer(mux)
	defer s.Close()
	var texts, urls []string
	for _, n := range []int{1, 3, 54, 55, 56, 57, 63, 64, 65, 78, 119, 120, 128, 200} {
		texts = append(texts, strings.Repeat("x-Y_9", 40)[:n])
		urls = append(urls, s.URL+"/"+texts[len(texts)-1])
	}
	for i, token := range node(t, solveAll, urls...) {
		if want := solve(texts[i], atLeast(10)); token != want {
			t.Errorf("%d characters: got %s, want %s", len(texts[i]), token, want)
		}
	}
}

func TestScript_refusesWhatIsNoChallenge(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	for path, answer := range map[string]string{
		"/hard": `{"challenge":"x","bits":33}`, "/none": `{}`, "/word": `{"challenge":"x","bits":"many"}`,
		"/list": `{"challenge":["x"],"bits":8}`, "/page": `<html>`,
	} {
		mux.HandleFunc("GET "+path+"/captcha", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
	}
	s := httptest.NewServer(mux)
	defer s.Close()
	got := node(t, `
import { solve } from "./pow.mjs"
for (const base of process.argv.slice(2)) console.log(await solve(base).then(() => "solved", e => e.name))
`, s.URL+"/hard", s.URL+"/none", s.URL+"/word", s.URL+"/list", s.URL+"/page", s.URL+"/nowhere")
	for i, want := range []string{"Error", "Error", "Error", "Error", "SyntaxError", "Error"} {
		if i >= len(got) || got[i] != want {
			t.Fatalf("got %q, want a refusal of each", got)
		}
	}
}
