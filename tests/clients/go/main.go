// franz-go behind the command interface of docs/clients.md: a line "verb key=value ..." comes in, one line of JSON goes out.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

type reply map[string]any

type command struct {
	verb string
	args map[string]string
}

func main() {
	bootstrap := os.Args[1]
	if len(os.Args) > 2 && os.Args[2] == "members" {
		serveMembers(bootstrap)
		return
	}
	topics := newTopics(bootstrap)
	records := &recordVerbs{bootstrap: bootstrap}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		answer, err := run(topics, records, parse(in.Text()))
		if err != nil {
			answer = reply{"ok": false, "code": -1000, "message": err.Error()}
			var refused *kerr.Error
			if errors.As(err, &refused) {
				answer["code"] = refused.Code
			}
		} else {
			answer["ok"] = true
		}
		line, _ := json.Marshal(answer)
		fmt.Println(string(line))
	}
}

func run(topics *topicVerbs, records *recordVerbs, c command) (reply, error) {
	if verb, found := records.verbs()[c.verb]; found {
		return verb(c)
	}
	return topics.run(c)
}

func parse(line string) command {
	words := strings.Fields(line)
	c := command{verb: words[0], args: map[string]string{}}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		c.args[key] = value
	}
	return c
}

func (c command) text(key, absent string) string {
	if v, found := c.args[key]; found {
		return v
	}
	return absent
}

func (c command) number(key string) int64 {
	n, err := strconv.ParseInt(c.text(key, "0"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// pairs reads "a:1,b:2" in order.
func (c command) pairs(key string) [][2]string {
	var out [][2]string
	for pair := range strings.SplitSeq(c.text(key, ""), ",") {
		if k, v, found := strings.Cut(pair, ":"); found {
			out = append(out, [2]string{k, v})
		}
	}
	return out
}
